using DoraSharp.Tests.Golden;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Conversion;

public class PlainAdapterTests
{
    [Theory]
    [InlineData("convert_pissa_to_lora")]
    [InlineData("convert_pissa_rslora_to_lora")]
    [InlineData("convert_olora_to_lora")]
    public void From_PeftsTrainedAdapter_GivesPeftsConvertedOne(string name)
    {
        using var scope = NewDisposeScope();
        using PeftCase golden = new(name);
        var config = golden.Description.GetProperty("adapters")[0].GetProperty("config");
        double alpha = config.GetProperty("lora_alpha").GetDouble();
        bool usesRsLora = config.TryGetProperty("use_rslora", out var flag) && flag.GetBoolean();
        PlainAdapter plain = PlainAdapter.From(Factor("trained", "A"), Factor("trained", "B"), Factor("initial", "A"), Factor("initial", "B"), alpha, usesRsLora);

        Reference.SameBits(plain.A, Factor("default", "A")).Should().BeTrue();
        Reference.SameBits(plain.B, Factor("default", "B")).Should().BeTrue();
        plain.Rank.Should().Be(6);
        double scaling = usesRsLora ? plain.Alpha / Math.Sqrt(plain.Rank) : plain.Alpha / plain.Rank;
        scaling.Should().BeApproximately(golden.Description.GetProperty("scaling_trained").GetDouble(), 1e-14);

        Tensor weight = golden.Read("base.safetensors", "lin.weight") + (scaling * plain.B.matmul(plain.A));
        golden.Compare(nn.functional.linear(golden.Io("x"), weight, golden.Read("base.safetensors", "lin.bias")), golden.Io("y"), "y");

        Tensor Factor(string folder, string factor) => golden.Read(Path.Combine(folder, "adapter_model.safetensors"), $"base_model.model.lin.lora_{factor}.weight");
    }

    [Fact]
    public void From_DoraOverAChangedBase_KeepsItsEffectiveWeight()
    {
        using var scope = NewDisposeScope();
        manual_seed(31);
        const double scaling = 1.5;
        Tensor original = randn(57, 83, dtype: ScalarType.Float64);
        InitialFactors initial = PissaInitializer.Exact(original, 6, scaling, ScalarType.Float64);
        Tensor a = initial.A + (0.1 * randn_like(initial.A));
        Tensor b = initial.B + (0.1 * randn_like(initial.B));
        Tensor magnitude = linalg.vector_norm(original, ord: 2, dims: [1]) * (0.7 + (0.6 * rand(57, dtype: ScalarType.Float64)));
        PlainAdapter plain = PlainAdapter.From(a, b, initial.A, initial.B, 9, usesRsLora: false, magnitude);

        (plain.Alpha / plain.Rank).Should().Be(scaling);
        plain.Magnitude!.IsInvalid.Should().BeFalse();
        Tensor expected = Reference.EffectiveWeight(initial.Residual!, new ReferenceAdapter(a, b, magnitude, scaling));
        Tensor actual = Reference.EffectiveWeight(original, new ReferenceAdapter(plain.A, plain.B, plain.Magnitude, scaling));
        Reference.RelativeError(actual, expected).Should().BeLessThan(1e-13);
    }

    [Fact]
    public void From_FactorsOfTwoAdapters_IsRefused()
    {
        using var scope = NewDisposeScope();
        Action from = () => PlainAdapter.From(ones(4, 9), ones(11, 4), ones(3, 9), ones(11, 3), 8, false);
        from.Should().Throw<ArgumentException>().WithMessage("*[4, 9]*[3, 9]*");
    }
}
