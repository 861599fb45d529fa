using System.Collections.Frozen;

namespace DoraSharp;

/// <summary>
/// Older releases of transformers hold a mixture's experts as modules (<c>w1</c>, <c>w2</c>, <c>w3</c>), newer ones as
/// parameters that stack them. PEFT turns the old names into parameters where the model has the new layout.
/// </summary>
internal static class ExpertRewriting
{
    private const string Stacked = "gate_up_proj";

    private static readonly ExpertNames Mixtral = new(
        [new("gate", "gate.weight"), new("w1", Stacked), new("w3", Stacked), new("w2", "down_proj")], ["w1", "w3"]);

    private static readonly ExpertNames Qwen = new(
        [new("gate", "gate.weight"), new("gate_proj", Stacked), new("up_proj", Stacked), new("down_proj", "down_proj")], ["gate_proj", "up_proj"]);

    private static readonly FrozenDictionary<string, ExpertNames> ByModelType = new (ExpertNames Names, string[] ModelTypes)[]
    {
        (Mixtral, ["mixtral", "minimax", "minimax_m2"]),
        (
            Qwen,
            [
                "qwen2_moe", "qwen3_moe", "qwen3_next", "qwen3_omni_moe", "qwen3_omni_moe_thinker", "deepseek_v2", "deepseek_v3",
                "dots1", "ernie4_5_moe", "flex_olmo", "glm4_moe", "glm4_moe_lite", "glm4v_moe", "hunyuan_v1_moe", "longcat_flash",
                "olmoe", "solar_open",
            ]
        ),
    }.SelectMany(static row => row.ModelTypes, static (row, modelType) => KeyValuePair.Create(modelType, row.Names))
     .ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>Rewrites old names where the model's type and layout ask for it.</summary>
    /// <exception cref="TargetingException">Only one of two names is given whose weights the model holds as one.</exception>
    public static PreparedTargets Apply(ModelDescription model, PreparedTargets targets)
    {
        bool isStacked = model.Modules.Any(static module => module.Parameters.Any(static parameter => parameter.Name == Stacked));
        if (!isStacked || model.ModelType is null || !ByModelType.TryGetValue(model.ModelType, out ExpertNames? names))
        {
            return targets;
        }

        LoraOptions options = targets.Options;
        IReadOnlyList<string> old = Resolve(model, options, names);
        if (old.Count == 0 && options.TargetModules.Pattern is not null)
        {
            // Nothing matches; matching says so.
            return targets;
        }

        string[] moved = [.. old.Where(name => names.NewName(name) is not null)];
        CheckPair(moved, names);
        bool isFused = moved.Any(name => names.NewName(name) == Stacked);
        return targets with
        {
            RewrittenNames = moved,
            Options = options with
            {
                TargetModules = TargetModules.Create([.. old.Except(moved).Order(StringComparer.Ordinal)]),
                TargetParameters = [.. options.TargetParameters.Union(moved.Select(name => names.NewName(name)!)).Order(StringComparer.Ordinal)],
                RankPattern = isFused ? With(options.RankPattern, options.Rank * names.Pair.Count) : options.RankPattern,
                AlphaPattern = isFused ? With(options.AlphaPattern, options.Alpha * names.Pair.Count) : options.AlphaPattern,
            },
        };
    }

    /// <summary>The names that the targets stand for.</summary>
    private static IReadOnlyList<string> Resolve(ModelDescription model, LoraOptions options, ExpertNames names)
    {
        if (options.TargetModules.IsAllLinear)
        {
            // The experts and their router were linear layers once.
            return [.. model.LinearPaths(options.TaskType).Select(ModuleNames.Last).Union(names.Mapping.Select(static pair => pair.Key))];
        }

        if (options.TargetModules.Pattern is null)
        {
            return options.TargetModules.Names;
        }

        ModuleSelector selector = new(options, null);
        (string FullName, string Module, string Name)[] parameters =
        [
            .. model.Modules.SelectMany(static module => module.Parameters, static (module, parameter) => (module.FullName(parameter), module.Path, parameter.Name)),
        ];
        HashSet<string> matched =
        [
            .. model.Modules.Select(static module => module.Path).Concat(parameters.Select(static parameter => parameter.FullName)).Where(IsMeant).Select(ModuleNames.Last),
        ];
        IEnumerable<string> pulledOut = names.Mapping
            .Where(pair => parameters.Any(parameter => parameter.Name == pair.Value && IsMeant($"{parameter.Module}.{pair.Key}")))
            .Select(static pair => pair.Key);
        matched.UnionWith(pulledOut);
        return [.. matched];

        bool IsMeant(string path) => selector.Select(path) == Selection.Matched;
    }

    private static void CheckPair(string[] moved, ExpertNames names)
    {
        string[] missing = [.. names.Pair.Where(half => !moved.Any(name => ModuleNames.Names(half, name)))];
        if (missing.Length > 0 && missing.Length < names.Pair.Count)
        {
            throw new TargetingException(
                TargetingError.HalfOfAFusedPair,
                $"The model holds {string.Join(" and ", names.Pair)} as one parameter, {Stacked}; TargetModules names only one of them. Name {string.Join(", ", missing)} too, or {Stacked} in TargetParameters.");
        }
    }

    // The two halves' ranks add up, and so must alpha, or the scaling would change.
    private static KeyValuePair<string, T>[] With<T>(IReadOnlyList<KeyValuePair<string, T>> patterns, T value)
    {
        string key = $@".*\.{Stacked}";
        return patterns.Any(pattern => pattern.Key == key)
            ? [.. patterns.Select(pattern => pattern.Key == key ? KeyValuePair.Create(key, value) : pattern)]
            : [.. patterns, KeyValuePair.Create(key, value)];
    }
}
