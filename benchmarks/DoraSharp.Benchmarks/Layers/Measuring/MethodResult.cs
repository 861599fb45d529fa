namespace DoraSharp.Benchmarks;

/// <summary>What was measured of one method in one scenario.</summary>
/// <param name="Method">The method.</param>
/// <param name="Times">Its step times.</param>
/// <param name="NormMilliseconds">See <see cref="NormAlone"/>; <see langword="null"/> for methods without a norm, and where no norm is computed.</param>
/// <param name="SavedBytes">See <see cref="SavedActivations"/>.</param>
/// <param name="PeakBytes">See <see cref="PeakMemory"/>; <see langword="null"/> where it was not asked for or cannot be read.</param>
internal sealed record MethodResult(MethodDefinition Method, Samples Times, double? NormMilliseconds, long? SavedBytes, long? PeakBytes)
{
    public double MedianMilliseconds => Times.Median;
}
