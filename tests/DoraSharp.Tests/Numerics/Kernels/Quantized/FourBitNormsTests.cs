using static TorchSharp.torch;

namespace DoraSharp.Tests.Numerics.Kernels.Quantized;

public class FourBitNormsTests
{
    [Theory]
    [InlineData(1, 1, 32)]
    [InlineData(37, 129, 64)]
    [InlineData(64, 2048, 64)]
    [InlineData(5, 9001, 4096)]
    public void SquaredRows_AnyShape_IsThatOfFloat64OnEveryPath(long rows, long width, int blockSize)
    {
        using var scope = NewDisposeScope();
        RandomWeight weight = new(rows, width, blockSize);
        Tensor expected = weight.Dense.to(ScalarType.Float64).square().sum(dim: 1);
        foreach (VectorPath path in VectorPaths.Available)
        {
            Tensor actual = FourBitNorms.SquaredRows(weight.Memory, rows, path);

            ((actual - expected).abs() / expected).max().item<double>().Should().BeLessThan(1e-13, $"by {path}");
        }
    }
}
