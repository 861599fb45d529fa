namespace DoraSharp;

/// <summary>How a family of mixtures renamed its weights.</summary>
/// <param name="Mapping">Old names of modules and the parameters that took their place, in order.</param>
/// <param name="Pair">The old names of the two weights that are one parameter now.</param>
internal sealed record ExpertNames(IReadOnlyList<KeyValuePair<string, string>> Mapping, IReadOnlyList<string> Pair)
{
    /// <summary>The parameter that a name means now; <see langword="null"/> for a name that did not change.</summary>
    public string? NewName(string target) => Mapping.FirstOrDefault(pair => ModuleNames.Names(pair.Key, target)).Value;
}
