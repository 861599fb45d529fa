namespace DoraSharp;

/// <summary>How exactly a layer holds the weight that was merged into it.</summary>
/// <param name="Path">The layer's path in the model.</param>
/// <param name="IsQuantized">Whether the merged weight is quantized; otherwise it is dense.</param>
/// <param name="RelativeError">
/// ‖stored − exact‖/‖exact‖ (Frobenius), where exact is the effective weight in float64: the rounding to the stored weight's
/// dtype, or what quantizing it again loses.
/// </param>
/// <param name="MaxError">The largest |stored − exact| of an element.</param>
public sealed record MergedLayer(string Path, bool IsQuantized, double RelativeError, double MaxError);
