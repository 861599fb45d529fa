using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Numerics;

public class RowNormsTests
{
    [Theory]
    [InlineData(1.0)]
    [InlineData(1e22)]
    [InlineData(1e-22)]
    public void OfUpdated_RowsOfAnyMagnitude_EqualTheDenseNormInFloat64(double magnitude)
    {
        using var scope = NewDisposeScope();
        manual_seed(21);
        Tensor w = randn(311, 173, dtype: ScalarType.Float64) * magnitude;
        Tensor a = randn(5, 173);
        Tensor b = (randn(311, 5, dtype: ScalarType.Float64) * magnitude).to(ScalarType.Float32);

        Check(w, a, b, 0.7, 1e-6);
    }

    [Fact]
    public void OfUpdated_UpdateNearlyCancelsRows_KeepsItsDigits()
    {
        using var scope = NewDisposeScope();
        manual_seed(22);
        Tensor a = randn(5, 173);
        Tensor b = randn(311, 5);
        Tensor w = -0.7 * b.to(ScalarType.Float64).matmul(a.to(ScalarType.Float64));
        Tensor noise = randn(311, 173, dtype: ScalarType.Float64) * 1e-3;
        w[TensorIndex.Slice(0, 290)] += noise[TensorIndex.Slice(0, 290)];

        Check(w.to(ScalarType.Float32), a, b, 0.7, 1e-5);
    }

    [Fact]
    public void OfUpdated_ZeroRowsAndZeroUpdate_GivesTheWeightsNormExactly()
    {
        using var scope = NewDisposeScope();
        manual_seed(23);
        Tensor w = randn(311, 173);
        w[17] = 0;
        using DenseWeight weight = new(Layer(w));
        Tensor n = RowNorms.OfUpdated(weight, randn(5, 173), zeros(311, 5), 2);

        n[17].item<float>().Should().Be(0);
        Reference.SameBits(n, weight.SquaredRowNorms().sqrt().to(ScalarType.Float32)).Should().BeTrue();
    }

    [Fact]
    public void OfUpdated_FactorsThatCancelEachOther_KeepsItsDigits()
    {
        using var scope = NewDisposeScope();
        manual_seed(26);
        Tensor row = randn(1, 173);
        Tensor a = cat([row, row + (1e-4 * randn(1, 173))], dim: 0);
        Tensor b = cat([full([311, 1], 1e3f), full([311, 1], -1e3f)], dim: 1);

        Check(randn(311, 173), a, b, 0.7, 2e-6);
    }

    [Fact]
    public void OfUpdated_BFloat16Weight_TakesItsValuesAsTheyAre()
    {
        using var scope = NewDisposeScope();
        manual_seed(24);
        Check(randn(311, 173).to(ScalarType.BFloat16), randn(5, 173), randn(311, 5), 0.7, 1e-6);
    }

    private static void Check(Tensor w, Tensor a, Tensor b, double scaling, double tolerance)
    {
        w = w.dtype == ScalarType.Float64 ? w.to(ScalarType.Float32) : w;
        using DenseWeight weight = new(Layer(w));
        Tensor n = RowNorms.OfUpdated(weight, a, b, scaling).to(ScalarType.Float64);
        Tensor v = w.to(ScalarType.Float64) + (scaling * b.to(ScalarType.Float64).matmul(a.to(ScalarType.Float64)));
        Tensor expected = linalg.vector_norm(v, ord: 2, dims: [1]);
        ((n - expected).abs() / expected).max().item<double>().Should().BeLessThan(tolerance);
    }

    private static Linear Layer(Tensor w)
    {
        Linear layer = nn.Linear(w.shape[1], w.shape[0], hasBias: false, dtype: w.dtype);
        layer.weight = new Parameter(w.clone(), requires_grad: false);
        return layer;
    }
}
