using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Draws the elements that DARE keeps: each with the probability density, independently.</summary>
/// <remarks>Drawn on the CPU, so that a seed means the same on every device.</remarks>
internal sealed class KeepMasks(double density, ulong? seed) : IDisposable
{
    private readonly Generator? generator = seed is { } value ? new Generator(value) : null;

    /// <summary>A mask of the given shape, 1 where an element is kept, in float64.</summary>
    public Tensor Next(long[] shape)
    {
        using Tensor uniform = rand(shape, dtype: ScalarType.Float64, generator: generator);
        using Tensor kept = uniform.lt(density);
        return kept.to(ScalarType.Float64);
    }

    public void Dispose() => generator?.Dispose();
}
