namespace DoraSharp;

/// <summary>An embedding of which rows train.</summary>
/// <param name="Path">Its path in the model.</param>
/// <param name="Indices">The rows.</param>
/// <param name="Dimension">The length of a row.</param>
/// <param name="TiedTo">The embedding whose trained rows are used here, since both weights are one.</param>
internal sealed record TokenSite(string Path, IReadOnlyList<int> Indices, long Dimension, string? TiedTo);
