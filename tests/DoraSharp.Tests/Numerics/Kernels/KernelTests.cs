using static TorchSharp.torch;

namespace DoraSharp.Tests.Numerics.Kernels;

public class KernelTests
{
    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(311, 173, 5)]
    [InlineData(6, 256, 16)]
    [InlineData(313, 1029, 17)]
    [InlineData(1030, 771, 64)]
    public void Product_AnyShape_IsThatOfFloat64(long outputs, long inputs, long rank)
    {
        using var scope = NewDisposeScope();
        manual_seed(51);
        Tensor w = randn(outputs, inputs);
        Tensor a = randn(rank, inputs);
        Tensor expected = w.to(ScalarType.Float64).matmul(a.to(ScalarType.Float64).t());

        Reference.RelativeError(ProjectionKernel.Product(w, a), expected).Should().BeLessThan(4e-7);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(3, 53)]
    [InlineData(200, 2111)]
    [InlineData(65, 4104)]
    public void ScaleAndSum_AnyShape_IsThatOfFloat64(long tokens, long outputs)
    {
        using var scope = NewDisposeScope();
        manual_seed(52);
        Tensor gradient = randn(tokens, outputs);
        Tensor y = randn(tokens, outputs);
        Tensor gain = randn(outputs);
        foreach (Tensor? centre in (Tensor?[])[null, randn(outputs)])
        {
            (Tensor scaled, Tensor sums) = GainKernel.ScaleAndSum(gradient, gain, y, centre);
            Tensor centred = y.to(ScalarType.Float64) - (centre?.to(ScalarType.Float64) ?? zeros(1, dtype: ScalarType.Float64));

            Reference.SameBits(scaled, gradient * gain).Should().BeTrue();
            Reference.MaxRelativeError(sums, (gradient.to(ScalarType.Float64) * centred).sum(dim: 0)).Should().BeLessThan(1e-6);
        }
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(3, 53)]
    [InlineData(200, 2111)]
    public void Scale_AnyShape_IsThatOfLibtorch(long tokens, long outputs)
    {
        using var scope = NewDisposeScope();
        manual_seed(53);
        Tensor y = randn(tokens, outputs);
        Tensor gain = randn(outputs);
        foreach (Tensor? offset in (Tensor?[])[null, randn(outputs)])
        {
            Tensor expected = offset is null ? y * gain : (y * gain) + offset;
            Tensor actual = y.clone();
            GainKernel.Scale(actual, gain, offset);

            Reference.MaxRelativeError(actual, expected).Should().BeLessThan(2e-7);
        }
    }

    [Fact]
    public void Kernels_AnyNumberOfThreads_GiveTheSameBits()
    {
        using var scope = NewDisposeScope();
        manual_seed(54);
        Tensor y = randn(300, 1030);
        Tensor gain = randn(1030);
        Tensor a = randn(16, 1030);
        int before = get_num_threads();
        try
        {
            (Tensor[] one, Tensor[] three) = (Run(1), Run(3));
            foreach ((Tensor single, Tensor shared) in one.Zip(three))
            {
                Reference.SameBits(single, shared).Should().BeTrue();
            }
        }
        finally
        {
            set_num_threads(before);
        }

        Tensor[] Run(int threads)
        {
            set_num_threads(threads);
            (Tensor scaled, Tensor sums) = GainKernel.ScaleAndSum(y, gain, y, null);
            return [scaled, sums, ProjectionKernel.Product(y, a), new CountedMask(3, .2).Apply(y)];
        }
    }
}
