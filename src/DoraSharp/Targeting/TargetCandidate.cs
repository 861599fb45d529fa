namespace DoraSharp;

/// <summary>What matching knows of a module: no tensors.</summary>
/// <param name="Path">The module's path.</param>
/// <param name="TypeName">Its type, for errors.</param>
/// <param name="IsLinear">Whether an adapter can be put on it.</param>
internal readonly record struct TargetCandidate(string Path, string TypeName, bool IsLinear);
