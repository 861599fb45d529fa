namespace DoraSharp;

/// <summary>Finds the embeddings of which rows train; modules whose weight is the input embedding's follow it.</summary>
internal static class TrainableTokenMatcher
{
    private const string CommonName = "embed_tokens";

    /// <summary>What an entry names.</summary>
    public static string NameOf(ModelDescription model, TrainableTokens tokens) => tokens.Module ?? model.InputEmbedding ?? CommonName;

    /// <summary>The sites, in the order of the options, then the tied ones.</summary>
    /// <exception cref="TargetingException">A module has no such rows, is saved whole, or tied modules ask for different rows.</exception>
    public static IReadOnlyList<TokenSite> Find(ModelDescription model, LoraOptions options, IReadOnlyList<string> saved)
    {
        List<TokenSite> sites = [];
        foreach (TrainableTokens tokens in options.TrainableTokens)
        {
            string name = NameOf(model, tokens);
            foreach (ModuleDescription module in model.Modules.Where(module => module.Path.EndsWith(name, StringComparison.Ordinal)))
            {
                TokenSite site = At(module, tokens, saved);
                if (sites.Exists(other => other.Path == site.Path))
                {
                    throw new TargetingException(TargetingError.UnsupportedCombination, $"TrainableTokens names {site.Path} twice; give its rows in one entry.");
                }

                sites.Add(site);
            }
        }

        return WithTies(model, options, sites);
    }

    private static TokenSite At(ModuleDescription module, TrainableTokens tokens, IReadOnlyList<string> saved)
    {
        (long rows, long dimension) = module.Kind switch
        {
            LayerKind.Embedding => (module.In, module.Out),
            LayerKind.Linear => (module.Out, module.In),
            _ => throw new TargetingException(
                TargetingError.UnsupportedModule, $"TrainableTokens means {module.Path}, a {module.TypeName}; only rows of embeddings and of linear heads train."),
        };
        if (tokens.Indices.Max() >= rows)
        {
            throw new TargetingException(TargetingError.UnsupportedParameter, $"TrainableTokens asks for row {tokens.Indices.Max()} of {module.Path}, which has {rows} rows.");
        }

        return saved.Contains(module.Path)
            ? throw new TargetingException(
                TargetingError.UnsupportedCombination, $"{module.Path} is trained whole (ModulesToSave) and by rows (TrainableTokens); choose one of them.")
            : new TokenSite(module.Path, tokens.Indices, dimension, null);
    }

    private static List<TokenSite> WithTies(ModelDescription model, LoraOptions options, List<TokenSite> sites)
    {
        if (sites.Find(site => site.Path == model.InputEmbedding) is not { } embedding)
        {
            return sites;
        }

        foreach (string path in EmbeddingTies.Of(model))
        {
            int own = sites.FindIndex(site => site.Path == path);
            if (own >= 0 && !sites[own].Indices.SequenceEqual(embedding.Indices))
            {
                if (options.EnsureWeightTying)
                {
                    throw new TargetingException(
                        TargetingError.UnsupportedCombination, $"{path} and {embedding.Path} are one weight, but TrainableTokens asks for different rows; ask for the same, or unset {nameof(LoraOptions.EnsureWeightTying)}.");
                }

                continue;
            }

            if (own >= 0)
            {
                sites.RemoveAt(own);
            }

            sites.Add(embedding with { Path = path, TiedTo = embedding.Path });
        }

        return sites;
    }
}
