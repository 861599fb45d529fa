using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Numerics;

/// <summary>What <c>docs/precision.md</c> claims, on random layers of other shapes.</summary>
public class PrecisionTests
{
    private const int Inputs = 421;
    private const int Outputs = 613;
    private const long Megabyte = 1 << 20;

    public static TheoryData<ScalarType, int> Cases()
    {
        TheoryData<ScalarType, int> cases = [];
        foreach (ScalarType dtype in (ScalarType[])[ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float16])
        {
            for (int seed = 0; seed < 3; seed++)
            {
                cases.Add(dtype, seed);
            }
        }

        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Dora_OverAnyBase_StaysWithinTheDocumentedErrors(ScalarType dtype, int seed)
    {
        using var scope = NewDisposeScope();
        manual_seed(500 + seed);
        Linear linear = nn.Linear(Inputs, Outputs, hasBias: false, dtype: dtype);
        using DoraLinear layer = DoraLinear.From(linear, new() { Rank = 12, Alpha = 24 });
        Reference.Disturb(layer.Adapters, seed);
        LoraAdapter adapter = (LoraAdapter)layer.Adapters["default"];
        new[] { adapter.A, adapter.B, adapter.Magnitude! }.Should().OnlyContain(parameter => parameter.dtype == ScalarType.Float32);
        Tensor x = randn(90, Inputs).to(dtype).requires_grad_(true);
        Tensor gradient = randn(90, Outputs).to(dtype);

        Tensor y = layer.call(x);
        y.backward([gradient]);

        ReferenceAdapter exact = Reference.Copy(adapter);
        Tensor exactX = Reference.Leaf(x);
        Tensor weight = linear.weight.to(ScalarType.Float64);
        Tensor effective = Reference.EffectiveWeight(weight, exact);
        Tensor expected = exactX.matmul(effective.t());
        expected.backward([gradient.to(ScalarType.Float64)]);
        Tensor norm = linalg.vector_norm(weight + (exact.Scaling * exact.B.matmul(exact.A)), ord: 2, dims: [1]);

        // The base's own numbers have a unit in the last place of half of these.
        double rounding = dtype switch { ScalarType.Float32 => 1e-7, ScalarType.BFloat16 => 2e-3, _ => 2.5e-4 };
        y.dtype.Should().Be(dtype);
        Reference.RelativeError(y, expected).Should().BeLessThan(4 * rounding);
        Reference.RelativeError(x.grad!, exactX.grad!).Should().BeLessThan(4 * rounding);
        Reference.RelativeError(adapter.A.grad!, exact.A.grad!).Should().BeLessThan(1e-6);
        Reference.RelativeError(adapter.B.grad!, exact.B.grad!).Should().BeLessThan(1e-6);
        Reference.RelativeError(adapter.Magnitude!.grad!, exact.Magnitude!.grad!).Should().BeLessThan(4 * rounding);
        Reference.RelativeError(adapter.Norm(layer.Adapters.Weight), norm).Should().BeLessThan(1e-7);
        Reference.RelativeError(layer.Adapters.EffectiveWeight(), effective).Should().BeLessThan(rounding);
    }

    [Theory]
    [InlineData(ScalarType.BFloat16, false)]
    [InlineData(ScalarType.BFloat16, true)]
    [InlineData(ScalarType.Float16, true)]
    public void Step_OverAHalfPrecisionBase_NeverMakesADenseCopyOfTheWeight(ScalarType dtype, bool drops)
    {
        using var scope = NewDisposeScope();
        const long In = 2048, Out = 8192, Dense = In * Out * sizeof(float);
        Linear linear = nn.Linear(In, Out, hasBias: false, dtype: dtype);
        using DoraLinear layer = DoraLinear.From(linear, new() { Rank = 8, Dropout = drops ? .1 : 0 });
        LoraAdapter adapter = (LoraAdapter)layer.Adapters["default"];
        Tensor x = randn(1, In).to(dtype).requires_grad_(true);
        Step(linear);
        Step(layer);
        layer.Adapters.Invalidate();
        using (no_grad())
        {
            adapter.B.add_(.01);
        }

        // The norm of W and that with the update are computed here again.
        long floor = PeakMemory.Of(() => Step(linear));
        long peak = PeakMemory.Of(() => Step(layer));
        long dense = PeakMemory.Of(() => linear.weight.to(ScalarType.Float32).Dispose());

        dense.Should().BeGreaterThan(Dense * 9 / 10, "the measurement sees a dense copy");
        peak.Should().BeLessThan(Math.Min(floor, Dense / 4) + (Dense / 4), "neither a float32 copy of W nor one in its own dtype is made: {0} MB, the base alone {1} MB", peak / Megabyte, floor / Megabyte);

        void Step(nn.Module<Tensor, Tensor> module)
        {
            using var step = NewDisposeScope();
            module.call(x).sum().backward();
        }
    }
}
