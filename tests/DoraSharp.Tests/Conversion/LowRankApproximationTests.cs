using System.Globalization;
using System.Text.Json;
using DoraSharp.Tests.Golden;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Conversion;

public class LowRankApproximationTests
{
    [Theory]
    [InlineData("svd_from_full_delta")]
    [InlineData("svd_from_dora")]
    public void OfRankAndEnergy_GoldenChange_GiveItsProductsErrorsAndRanks(string name)
    {
        using var scope = NewDisposeScope();
        using PeftCase golden = new(name);
        Tensor change = golden.Io("delta.lin");
        Tensor weight = golden.Read("base.safetensors", "lin.weight");
        Tensor bias = golden.Read("base.safetensors", "lin.bias");
        foreach (JsonProperty errors in golden.Description.GetProperty("errors").EnumerateObject())
        {
            using LowRankApproximation approximation = LowRankApproximation.OfRank(change, int.Parse(errors.Name, CultureInfo.InvariantCulture));
            Tensor product = approximation.B.matmul(approximation.A);
            golden.Compare(product, golden.Io($"rank{errors.Name}.product"), $"product of rank {errors.Name}");
            golden.Compare(nn.functional.linear(golden.Io("x"), weight + product, bias), golden.Io($"rank{errors.Name}.y"), $"y of rank {errors.Name}");
            golden.Compare(tensor(approximation.SingularValues.ToArray()), golden.Io("singular_values"), "singular values");
            approximation.FrobeniusError.Should().BeApproximately(errors.Value.GetProperty("frobenius_error").GetDouble(), 1e-6);
            approximation.RelativeError.Should().BeApproximately(errors.Value.GetProperty("relative").GetDouble(), 1e-6);
            approximation.SpectralError.Should().BeApproximately(errors.Value.GetProperty("spectral_error").GetDouble(), 1e-6);
        }

        foreach (JsonProperty rank in golden.Description.GetProperty("rank_for_energy").EnumerateObject())
        {
            using LowRankApproximation approximation = LowRankApproximation.OfEnergy(change, double.Parse(rank.Name, CultureInfo.InvariantCulture));
            approximation.Rank.Should().Be(rank.Value.GetInt32(), $"of {rank.Name} of the energy");
        }
    }

    [Fact]
    public void OfRankAndEnergy_ALargerAdapter_GiveWhatPeftConvertsItTo()
    {
        using var scope = NewDisposeScope();
        using PeftCase golden = new("svd_peft_convert_to_lora");
        string file = Path.Combine("default", "adapter_model.safetensors");
        Tensor change = WeightChange.Of(
            golden.Read("base.safetensors", "lin.weight"), golden.Read(file, "base_model.model.lin.lora_A.weight"), golden.Read(file, "base_model.model.lin.lora_B.weight"), golden.Adapter.Scaling);
        using LowRankApproximation third = LowRankApproximation.OfRank(change, 3);
        using LowRankApproximation energy = LowRankApproximation.OfEnergy(change, 0.9);

        golden.Compare(third.B.matmul(third.A), golden.Io("rank3.product"), "rank 3");
        golden.Compare(energy.B.matmul(energy.A), golden.Io("energy090.product"), "90 %");
        energy.Rank.Should().Be(golden.Description.GetProperty("figures").GetProperty("energy090_rank").GetInt32());
        LowRankApproximation.OfEnergy(change, 1).Rank.Should().Be(5, "that is the change's own rank");
    }

    [Fact]
    public void OfRank_ChangeOfDora_HasTheErrorsItReports()
    {
        using var scope = NewDisposeScope();
        manual_seed(32);
        Tensor weight = randn(57, 83, dtype: ScalarType.Float64);
        weight[5] = 0;
        Tensor a = randn(2, 83, dtype: ScalarType.Float64) * 0.2;
        Tensor b = randn(57, 2, dtype: ScalarType.Float64);
        b[5] = 0;
        Tensor magnitude = linalg.vector_norm(weight, ord: 2, dims: [1]) * (0.7 + (0.6 * rand(57, dtype: ScalarType.Float64)));
        Tensor change = WeightChange.Of(weight, a, b, 0.5, magnitude);
        Tensor live = ones(57).index_fill(0, tensor(new[] { 5L }), 0).unsqueeze(1).to(ScalarType.Bool);
        Tensor expected = where(live, Reference.EffectiveWeight(weight, new ReferenceAdapter(a, b, magnitude, 0.5)) - weight, zeros_like(weight));
        Reference.RelativeError(change, expected).Should().BeLessThan(1e-14);

        using LowRankApproximation approximation = LowRankApproximation.OfRank(change, 10);
        Tensor rest = change - approximation.B.matmul(approximation.A);
        approximation.FrobeniusError.Should().BeApproximately(rest.norm().item<double>(), 1e-10);
        approximation.RelativeError.Should().BeApproximately((rest.norm() / change.norm()).item<double>(), 1e-12);
        approximation.SpectralError.Should().BeApproximately(linalg.svdvals(rest)[0].item<double>(), 1e-10);
        approximation.A.dtype.Should().Be(ScalarType.Float64);
        LowRankApproximation.OfRank(change.to(ScalarType.BFloat16), 3).A.dtype.Should().Be(ScalarType.Float32);
    }

    [Fact]
    public void OfEnergy_NoChange_IsOfRankOneAndExact()
    {
        using var scope = NewDisposeScope();
        using LowRankApproximation approximation = LowRankApproximation.OfEnergy(zeros(7, 5), 0.9);
        approximation.Rank.Should().Be(1);
        approximation.RelativeError.Should().Be(0);
        approximation.B.matmul(approximation.A).count_nonzero().item<long>().Should().Be(0);
    }

    [Fact]
    public void Of_ManyTimes_LeavesNothing()
    {
        using Tensor change = randn(20, 30, generator: new Generator(1));
        using Tensor weight = randn(20, 30, generator: new Generator(2));
        using Tensor a = randn(2, 30, generator: new Generator(3));
        using Tensor b = randn(20, 2, generator: new Generator(4));
        using Tensor magnitude = ones(20);
        LowRankApproximation.OfRank(change, 3).Dispose();
        long before = LiveTensors.Count;
        LowRankApproximation.OfRank(change, 3).Dispose();
        LowRankApproximation.OfEnergy(change, 0.5).Dispose();
        WeightChange.Of(weight, a, b, 2, magnitude).Dispose();
        PlainAdapter.From(a, b, a, b, 2, false, magnitude).Dispose();
        LiveTensors.Count.Should().Be(before);
    }

    [Fact]
    public void Of_BadArguments_AreRefused()
    {
        using var scope = NewDisposeScope();
        Tensor change = randn(7, 5);
        ((Action)(() => LowRankApproximation.OfRank(change, 6))).Should().Throw<ArgumentOutOfRangeException>();
        ((Action)(() => LowRankApproximation.OfRank(change, 0))).Should().Throw<ArgumentOutOfRangeException>();
        ((Action)(() => LowRankApproximation.OfEnergy(change, 0))).Should().Throw<ArgumentOutOfRangeException>();
        ((Action)(() => LowRankApproximation.OfEnergy(change, double.NaN))).Should().Throw<ArgumentOutOfRangeException>();
        ((Action)(() => LowRankApproximation.OfRank(randn(7), 1))).Should().Throw<ArgumentException>().WithMessage("*[7]*");
        ((Action)(() => LowRankApproximation.OfRank(change / 0, 1))).Should().Throw<ArgumentException>().WithMessage("*NaN*");
    }
}
