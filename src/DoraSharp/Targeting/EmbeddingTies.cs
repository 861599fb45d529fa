using System.Text.RegularExpressions;

namespace DoraSharp;

/// <summary>Keeps a tied embedding and head one, as <see cref="LoraOptions.EnsureWeightTying"/> asks: what is done to the input embedding is done to the others.</summary>
internal static class EmbeddingTies
{
    /// <summary>The modules whose weight is that of the input embedding, without the embedding itself.</summary>
    public static IReadOnlyList<string> Of(ModelDescription model)
    {
        if (!model.TiesWordEmbeddings || model.InputEmbedding is null)
        {
            return [];
        }

        string weight = $"{model.InputEmbedding}.weight";
        return
        [
            .. model.TiedParameters.Where(group => group.Contains(weight)).SelectMany(static group => group)
                .Where(name => name != weight)
                .Select(static name => name[..Math.Max(name.LastIndexOf('.'), 0)]),
        ];
    }

    /// <summary>Moves what names a tied module to the input embedding.</summary>
    public static PreparedTargets Apply(ModelDescription model, PreparedTargets targets)
    {
        IReadOnlyList<string> tied = Of(model);
        LoraOptions options = targets.Options;
        if (!options.EnsureWeightTying || tied.Count == 0)
        {
            return targets;
        }

        string embedding = model.InputEmbedding!;
        if (options.ModulesToSave.Any(NamesOne))
        {
            return targets with
            {
                TiedSaves = tied,
                Options = options with { ModulesToSave = [.. options.ModulesToSave.Append(embedding).Distinct().Where(name => !tied.Any(path => ModuleNames.Names(name, path)))] },
            };
        }

        if (options.TargetModules.Pattern is { } pattern)
        {
            return !options.TargetModules.IsAllLinear && tied.Append(embedding).Any(ModulePattern.Whole(pattern).MatchesAll)
                ? With(TargetModules.FromPattern($"(?:{pattern}|^{Regex.Escape(embedding)}$)"))
                : targets;
        }

        return options.TargetModules.Names.Any(NamesOne)
            ? With(TargetModules.Create([.. options.TargetModules.Names.Append(embedding).Distinct().Where(name => !tied.Any(path => ModuleNames.Names(name, path)))]))
            : targets;

        bool NamesOne(string name) => tied.Append(embedding).Any(path => ModuleNames.Names(name, path));

        PreparedTargets With(TargetModules modules) => targets with { TiedTargets = tied, Options = options with { TargetModules = modules } };
    }
}
