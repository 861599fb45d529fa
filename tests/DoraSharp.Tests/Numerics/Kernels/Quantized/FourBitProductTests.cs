using static TorchSharp.torch;

namespace DoraSharp.Tests.Numerics.Kernels.Quantized;

public class FourBitProductTests
{
    [Theory]
    [InlineData(1, 1, 32, 1)]
    [InlineData(37, 129, 64, 3)]
    [InlineData(70, 192, 64, 1)]
    [InlineData(67, 1088, 64, 2)]
    [InlineData(130, 2048, 256, 3)]
    [InlineData(61, 2112, 64, 7)]
    [InlineData(13, 4160, 32, 1)]
    [InlineData(9, 1031, 4096, 17)]
    [InlineData(5, 64, 128, 40)]
    public void MultiplyAndProject_AnyShape_AreThoseOfFloat64OnEveryPath(long rows, long width, int blockSize, long tokens)
    {
        using var scope = NewDisposeScope();
        RandomWeight weight = new(rows, width, blockSize);
        Tensor x = randn(tokens, width, generator: new Generator(7));
        Tensor expected = x.to(ScalarType.Float64).matmul(weight.Dense.to(ScalarType.Float64).t());
        foreach (VectorPath path in VectorPaths.Available)
        {
            Reference.RelativeError(FourBitProduct.Multiply(weight.Memory, x, path), expected).Should().BeLessThan(1e-6, $"by {path}");
            Reference.RelativeError(FourBitProduct.Project(weight.Memory, x, path), expected.t()).Should().BeLessThan(1e-6, $"by {path}");
        }
    }

    [Fact]
    public void Multiply_AnyNumberOfThreads_GivesTheSameBits()
    {
        using var scope = NewDisposeScope();
        RandomWeight weight = new(301, 1024, 64);
        Tensor one = randn(1, 1024, generator: new Generator(8));
        Tensor many = randn(9, 1024, generator: new Generator(9));
        int before = get_num_threads();
        try
        {
            set_num_threads(1);
            (Tensor single, Tensor several) = (FourBitProduct.Multiply(weight.Memory, one), FourBitProduct.Multiply(weight.Memory, many));
            set_num_threads(3);

            Reference.SameBits(FourBitProduct.Multiply(weight.Memory, one), single).Should().BeTrue();
            Reference.SameBits(FourBitProduct.Multiply(weight.Memory, many), several).Should().BeTrue();
        }
        finally
        {
            set_num_threads(before);
        }
    }
}
