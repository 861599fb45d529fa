namespace DoraSharp;

/// <summary>How far quantizing a model has come.</summary>
/// <param name="Site">The layer that was just quantized.</param>
/// <param name="Done">How many are quantized.</param>
/// <param name="Total">How many will be.</param>
public sealed record QuantizationProgress(QuantizedSite Site, int Done, int Total);
