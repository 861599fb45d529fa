namespace DoraSharp;

/// <summary>The result of matching: the sites in model order, and the entries that matched nothing.</summary>
/// <param name="Sites">The paths to adapt, each with the options that hold there: rank and alpha patterns resolved.</param>
/// <param name="Unmatched">Entries of targets, exclusions and patterns that matched nothing, as <c>TargetModules: 'q_porj'</c>.</param>
internal sealed record TargetMatch(IReadOnlyList<KeyValuePair<string, LoraOptions>> Sites, IReadOnlyList<string> Unmatched);
