using System.Runtime.InteropServices;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Numerics;

public class LowRankStepTests
{

    public static TheoryData<bool, bool, bool, ScalarType, Sizes> Cases()
    {
        TheoryData<bool, bool, bool, ScalarType, Sizes> data = [];
        foreach (bool dora in (bool[])[false, true])
        {
            foreach (bool bias in (bool[])[false, true])
            {
                foreach (bool drops in (bool[])[false, true])
                {
                    foreach (ScalarType dtype in (ScalarType[])[ScalarType.Float64, ScalarType.Float32, ScalarType.BFloat16])
                    {
                        data.Add(dora, bias, drops, dtype, Sizes.Odd);
                    }

                    foreach (Sizes sizes in (Sizes[])[new(304, 528, 5), new(1040, 112, 16), new(256, 272, 8), new(48, 608, 35), new(176, 96, 64)])
                    {
                        data.Add(dora, bias, drops, ScalarType.Float32, sizes);
                    }
                }
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Apply_AnyCase_GivesTheOutputAndGradientsOfTheDefinitionInFloat64(bool dora, bool bias, bool drops, ScalarType dtype, Sizes sizes)
    {
        double tolerance = dtype switch { ScalarType.Float64 => 1e-12, ScalarType.Float32 => 4e-6, _ => 2e-2 };
        using var scope = NewDisposeScope();
        using Case problem = new(dora, bias, dtype, drops ? .3 : 0, sizes: sizes);
        Tensor y = problem.Layer.call(problem.X);
        y.backward([problem.Gradient]);

        Tensor expected = problem.Reference(problem.Replayed);
        expected.backward([problem.Gradient.to(ScalarType.Float64)]);

        y.dtype.Should().Be(dtype);
        Reference.RelativeError(y, expected).Should().BeLessThan(tolerance);
        problem.CheckGradients(tolerance);
    }

    [Fact]
    public void Apply_CaseThatItServes_LeavesTheFoldOut()
    {
        using var scope = NewDisposeScope();
        foreach (bool dora in (bool[])[false, true])
        {
            using Case problem = new(dora, bias: true, ScalarType.Float32, dropout: .3);
            problem.Step().Should().NotBeNull();
            problem.Layer.BaseLayer.weight.requires_grad = true;
            problem.Step().Should().BeNull("W would need a gradient");
        }

        using Case drowned = new(dora: true, bias: true, ScalarType.Float32, dropout: 0);
        using (no_grad())
        {
            drowned.Layer.BaseLayer.weight[3] *= 1e-8;
        }

        drowned.Step().Should().BeNull("the bias hides the row");
    }

    [Fact]
    public void Apply_PeftPlacement_NeedsTheFoldWithAMagnitudeOnly()
    {
        using var scope = NewDisposeScope();
        using Case lora = new(dora: false, bias: false, ScalarType.Float32, dropout: .3, DropoutPlacement.Peft);
        using Case dora = new(dora: true, bias: false, ScalarType.Float32, dropout: .3, DropoutPlacement.Peft);
        lora.Step().Should().NotBeNull();
        dora.Step().Should().BeNull();
        dora.Layer.eval();
        dora.Step().Should().NotBeNull();
    }

    [Theory]
    [InlineData(false, false, true, true)]
    [InlineData(true, false, true, true)]
    [InlineData(true, true, false, true)]
    [InlineData(true, true, true, false)]
    [InlineData(true, false, false, true)]
    [InlineData(true, true, false, false)]
    public void Backward_SomeInputsFrozen_GivesTheOthersTheirGradients(bool x, bool a, bool b, bool m)
    {
        using var scope = NewDisposeScope();
        using Case problem = new(dora: true, bias: true, ScalarType.Float64, dropout: .3);
        problem.X.requires_grad = x;
        problem.Adapter.A.requires_grad = a;
        problem.Adapter.B.requires_grad = b;
        problem.Adapter.Magnitude!.requires_grad = m;
        problem.Layer.call(problem.X).backward([problem.Gradient]);
        problem.Reference(problem.Replayed).backward([problem.Gradient]);

        problem.CheckGradients(1e-12);
    }

    [Fact]
    public void Forward_WithoutGradients_GivesTheSameOutputAndNoHistory()
    {
        using var scope = NewDisposeScope();
        using Case problem = new(dora: true, bias: true, ScalarType.Float32, dropout: 0);
        Tensor expected = problem.Layer.call(problem.X);
        using (no_grad())
        {
            Tensor y = problem.Layer.call(problem.X);
            y.requires_grad.Should().BeFalse();
            Reference.SameBits(y, expected).Should().BeTrue();
        }

        using (inference_mode(true))
        {
            Reference.SameBits(problem.Layer.call(problem.X), expected).Should().BeTrue();
        }

        problem.Layer.call(problem.X).requires_grad.Should().BeTrue();
    }

    [Fact]
    public void Backward_OutputChangedInPlace_StillGivesTheGradients()
    {
        using var scope = NewDisposeScope();
        using Case problem = new(dora: true, bias: true, ScalarType.Float32, dropout: .3);
        Tensor y = problem.Layer.call(problem.X);
        y.mul_(3).add_(1);
        y.backward([problem.Gradient]);
        problem.Reference(problem.Replayed).mul(3).backward([problem.Gradient.to(ScalarType.Float64)]);

        problem.CheckGradients(4e-6);
    }

    [Fact]
    public void Backward_MagnitudesNearZero_GivesTheirGradients()
    {
        using var scope = NewDisposeScope();
        using Case problem = new(dora: true, bias: true, ScalarType.Float32, dropout: .3);
        using (no_grad())
        {
            problem.Adapter.Magnitude![0] = 0;
            problem.Adapter.Magnitude[7] = 1e-30f;
            problem.Adapter.Magnitude[531] = -1e-3f;
        }

        problem.Layer.call(problem.X).backward([problem.Gradient]);
        problem.Reference(problem.Replayed).backward([problem.Gradient.to(ScalarType.Float64)]);

        problem.CheckGradients(4e-6);
    }

    [Fact]
    public void Backward_Twice_AddsTheSameGradientsAgain()
    {
        using var scope = NewDisposeScope();
        using Case problem = new(dora: true, bias: true, ScalarType.Float64, dropout: .3);
        Tensor y = problem.Layer.call(problem.X);
        y.backward([problem.Gradient], create_graph: false, retain_graph: true);
        y.backward([problem.Gradient]);
        problem.Reference(problem.Replayed).backward([problem.Gradient * 2]);

        problem.CheckGradients(1e-12);
    }

    [Fact]
    public void Backward_GraphOfTheGradients_GivesSecondDerivatives()
    {
        using var scope = NewDisposeScope();
        using Case problem = new(dora: true, bias: true, ScalarType.Float64, dropout: .3);
        Tensor[] inputs = [problem.X, problem.Adapter.A, problem.Adapter.B, problem.Adapter.Magnitude!];
        Penalty(problem.Layer.call(problem.X), inputs).backward();
        Penalty(problem.Reference(problem.Replayed), problem.ReferenceInputs).backward();

        problem.CheckGradients(1e-11);

        Tensor Penalty(Tensor y, Tensor[] of)
        {
            IList<Tensor> gradients = autograd.grad([y.pow(2).mul(problem.Gradient).sum()], of, create_graph: true, retain_graph: true);
            return gradients.Select((gradient, i) => gradient.pow(2).sum() * (1 + i)).Aggregate((a, b) => a + b);
        }
    }

    [Fact]
    public void Backward_InputChangedInPlace_IsRefusedAndTheNextStepWorks()
    {
        using var scope = NewDisposeScope();
        using Case problem = new(dora: true, bias: false, ScalarType.Float32, dropout: 0);
        Tensor x = problem.X * 1;
        Tensor y = problem.Layer.call(x);
        x.add_(1);
        y.Invoking(output => output.backward([problem.Gradient])).Should().Throw<ExternalException>();

        problem.Layer.call(problem.X).backward([problem.Gradient]);
        problem.Reference(problem.Replayed).backward([problem.Gradient.to(ScalarType.Float64)]);
        problem.CheckGradients(4e-6);
    }

    [Fact]
    public void Forward_BaseLayerWithAHookOnItsInput_IsDifferentiatedThroughTheHook()
    {
        using var scope = NewDisposeScope();
        using Case problem = new(dora: false, bias: false, ScalarType.Float64, dropout: 0);
        problem.Layer.BaseLayer.register_forward_pre_hook((_, input) => input * 2);
        problem.Layer.call(problem.X).backward([problem.Gradient]);
        Tensor base2 = problem.ReferenceX.matmul(problem.Layer.BaseLayer.weight.t()).mul(2);
        Tensor update = problem.ReferenceX.matmul(problem.Expected.A.t()).matmul(problem.Expected.B.t()) * problem.Expected.Scaling;
        (base2 + update).backward([problem.Gradient]);

        problem.CheckGradients(1e-12);
    }

    [Fact]
    public void Backward_LayerDisposedOrConverted_GivesTheGradientsOfTheForwardPass()
    {
        foreach (bool disposed in (bool[])[true, false])
        {
            using var scope = NewDisposeScope();
            manual_seed(5);
            DoraLinear layer = new(48, 80);
            using Tensor weight = layer.Adapters.EffectiveWeight();
            Tensor x = randn(7, 48, requires_grad: true);
            Tensor gradient = randn(7, 80);
            Tensor y = layer.call(x);
            if (disposed)
            {
                layer.Dispose();
            }
            else
            {
                layer.to(ScalarType.Float64);
            }

            y.backward([gradient]);

            Reference.RelativeError(x.grad!, gradient.matmul(weight)).Should().BeLessThan(1e-5);
            layer.Dispose();
        }
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, true)]
    public void Forward_NothingTrainsThatNeedsTheInput_DoesNotKeepIt(bool dora, bool freezesMagnitude)
    {
        using var scope = NewDisposeScope();
        foreach (Sizes sizes in (Sizes[])[Sizes.Odd, new(304, 528, 5)])
        {
            using Case problem = new(dora, bias: true, ScalarType.Float32, dropout: .3, sizes: sizes);
            problem.Adapter.A.requires_grad = false;
            if (freezesMagnitude)
            {
                problem.Adapter.Magnitude!.requires_grad = false;
            }

            Tensor x = problem.X * 1;
            Tensor y = problem.Layer.call(x);

            // libtorch refuses a backward pass that needs what was changed.
            x.zero_();
            y.backward([problem.Gradient]);
            problem.Reference(problem.Replayed).backward([problem.Gradient.to(ScalarType.Float64)]);
            problem.CheckGradients(4e-6);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Backward_GraphOfTheGradientsWithAFrozen_GivesSecondDerivatives(bool x)
    {
        using var scope = NewDisposeScope();
        using Case problem = new(dora: false, bias: true, ScalarType.Float64, dropout: .3);
        problem.Adapter.A.requires_grad = false;
        problem.X.requires_grad = x;
        Penalty(problem.Layer.call(problem.X), problem.Adapter.B).backward();
        Tensor expected = problem.Reference(problem.Replayed);
        Penalty(expected, problem.Expected.B).backward();

        Reference.RelativeError(problem.Adapter.B.grad!, problem.Expected.B.grad!).Should().BeLessThan(1e-11);
        if (x)
        {
            Reference.RelativeError(problem.X.grad!, problem.ReferenceX.grad!).Should().BeLessThan(1e-11);
        }

        Tensor Penalty(Tensor y, Tensor b) =>
            autograd.grad([y.pow(2).mul(problem.Gradient).sum()], [b], create_graph: true, retain_graph: true)[0].pow(2).sum();
    }

    [Fact]
    public void Steps_Many_KeepTheNumberOfLiveTensors()
    {
        using Case problem = new(dora: true, bias: true, ScalarType.Float32, dropout: .3);
        Step();
        long before = LiveTensors.Count;
        for (int i = 0; i < 5; i++)
        {
            Step();
        }

        LiveTensors.Count.Should().Be(before);

        void Step()
        {
            using var scope = NewDisposeScope();
            problem.Layer.call(problem.X).backward([problem.Gradient]);
            using (no_grad())
            {
                problem.Adapter.B.mul_(.9);
            }
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Forward_InputThatNoGradientNeeds_IsNotKept(bool trainsA)
    {
        const long InputBytes = 1024 * 4096 * sizeof(float);
        using var scope = NewDisposeScope();
        manual_seed(8);
        using LoraLinear layer = LoraLinear.From(nn.Linear(4096, 96), new LoraOptions { Rank = 8 });
        ((LoraAdapter)layer.Adapters["default"]).A.requires_grad = trainsA;
        Tensor shift = zeros(4096, requires_grad: true);
        Tensor x = randn(1024, 4096) + shift;
        long before = NativeHeap.BytesInUse();
        Tensor y = layer.call(x);
        x.Dispose();

        long freed = before - NativeHeap.BytesInUse();
        (freed > InputBytes / 2).Should().Be(!trainsA, "{0} bytes of {1} were freed", freed, InputBytes);
        y.sum().backward();
        shift.grad.Should().NotBeNull();
    }

    [Fact]
    public void Graph_OfVeryManySteps_IsFreedOneByOne()
    {
        using var scope = NewDisposeScope();
        manual_seed(9);
        using DoraLinear layer = DoraLinear.From(nn.Linear(16, 16), new LoraOptions { Rank = 2 });
        long before = LiveTensors.Count;
        foreach (bool goesBack in (bool[])[true, false])
        {
            Tensor x = randn(1, 16, requires_grad: true);
            Tensor y = x * 1;
            for (int i = 0; i < 30_000; i++)
            {
                Tensor next = layer.call(y);
                y.Dispose();
                y = next;
            }

            if (goesBack)
            {
                using Tensor sum = y.sum();
                sum.backward();
            }

            y.Dispose();
            x.Dispose();
        }

        layer.zero_grad();
        LiveTensors.Count.Should().BeLessThanOrEqualTo(before + 8);
    }

    /// <summary>The sizes of a layer and its adapter, on [3, 70] tokens.</summary>
    public sealed record Sizes(int Inputs, int Outputs, int Rank)
    {
        /// <summary>Sizes that this library's own products do not serve.</summary>
        public static Sizes Odd { get; } = new(301, 533, 5);
    }

    /// <summary>A layer with a trained adapter, and the same in float64.</summary>
    private sealed class Case : IDisposable
    {
        private readonly long[] shape;
        private readonly Linear linear;
        private readonly double dropout;
        private readonly Tensor? bias;

        public Case(bool dora, bool bias, ScalarType dtype, double dropout, DropoutPlacement placement = DropoutPlacement.AdapterPath, Sizes? sizes = null)
        {
            (int inputs, int outputs, int rank) = sizes ?? Sizes.Odd;
            shape = [3, 70, inputs];
            this.dropout = dropout;
            manual_seed(31);
            linear = nn.Linear(inputs, outputs, bias, dtype: dtype);
            LoraOptions options = new() { Rank = rank, Alpha = 7, Dropout = dropout, DropoutPlacement = placement };
            Layer = dora ? DoraLinear.From(linear, options) : LoraLinear.From(linear, options);
            DoraSharp.Tests.Reference.Disturb(Layer.Adapters);
            Adapter = (LoraAdapter)Layer.Adapters["default"];
            X = randn(shape).to(dtype).requires_grad_(true);
            Gradient = randn([.. shape[..^1], outputs]).to(dtype);
            if (bias)
            {
                linear.bias!.requires_grad = true;
                this.bias = DoraSharp.Tests.Reference.Leaf(linear.bias);
            }

            Expected = DoraSharp.Tests.Reference.Copy(Adapter);
            ReferenceX = DoraSharp.Tests.Reference.Leaf(X);
            manual_seed(32);
        }

        public AdaptedLinear Layer { get; }

        public LoraAdapter Adapter { get; }

        public Tensor X { get; }

        public Tensor Gradient { get; }

        public Tensor ReferenceX { get; }

        public ReferenceAdapter Expected { get; private set; }

        public Tensor[] ReferenceInputs => [ReferenceX, Expected.A, Expected.B, Expected.Magnitude!];

        /// <summary>The factors of the mask that the layer's first call had.</summary>
        public Tensor? Replayed
        {
            get
            {
                if (dropout == 0)
                {
                    return null;
                }

                manual_seed(32);
                Tensor rows = X.detach().reshape(-1, shape[^1]).to(Adapter.DType);
                return InputDropout.Next(rows, dropout).Factors(rows).to(ScalarType.Float64).reshape(shape);
            }
        }

        /// <summary>The output of the definition, from the parameters as they are now.</summary>
        public Tensor Reference(Tensor? factors)
        {
            Expected = DoraSharp.Tests.Reference.Copy(Adapter);
            Tensor weight = linear.weight.to(ScalarType.Float64).detach();
            Tensor dropped = factors is null ? ReferenceX : ReferenceX * factors;
            Tensor y = ReferenceX.matmul(weight.t()) + (Expected.Scaling * dropped.matmul(Expected.A.t()).matmul(Expected.B.t()));
            if (Expected.Magnitude is not null)
            {
                Tensor norm = linalg.vector_norm(weight + (Expected.Scaling * Expected.B.matmul(Expected.A)), ord: 2, dims: [1]).detach();
                y *= Expected.Magnitude / norm;
            }

            return bias is null ? y : y + bias;
        }

        /// <summary>What the adapter gives at once, if it does.</summary>
        public Tensor? Step() => Adapter.FoldAtOnce(X, linear.call(X), Layer.Adapters.Weight, Layer.training);

        public void CheckGradients(double tolerance)
        {
            Check(X, ReferenceX);
            Check(Adapter.A, Expected.A);
            Check(Adapter.B, Expected.B);
            if (Adapter.Magnitude is { } magnitude)
            {
                Check(magnitude, Expected.Magnitude!);
            }

            if (bias is not null)
            {
                Check(linear.bias!, bias);
            }

            void Check(Tensor actual, Tensor expected)
            {
                if (actual.requires_grad)
                {
                    actual.grad.Should().NotBeNull();
                    actual.grad!.dtype.Should().Be(actual.dtype);
                    DoraSharp.Tests.Reference.MaxRelativeError(actual.grad!, expected.grad!).Should().BeLessThan(tolerance);
                }
                else
                {
                    actual.grad.Should().BeNull();
                }
            }
        }

        public void Dispose()
        {
            Layer.Dispose();
            linear.Dispose();
        }
    }
}
