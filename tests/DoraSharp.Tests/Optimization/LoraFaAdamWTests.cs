using DoraSharp.Tests.Injection;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Optimization;

public class LoraFaAdamWTests
{
    private static readonly LoraFaOptions Options = new() { LearningRate = 0.02, WeightDecay = 0.1, Beta1 = 0.8, Beta2 = 0.95 };

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void Step_LoraAndDora_FollowsTheDefinitionInFloat64(bool dora, bool rankStabilised)
    {
        using var scope = NewDisposeScope();
        using Run run = new(new LoraOptions { Rank = 6, Alpha = 9, UseDora = dora, UseRsLora = rankStabilised, TargetModules = ["fc"] });
        ReferenceAdapter reference = Reference.Copy(run.Adapter);
        Tensor w = run.Weight.detach().to(ScalarType.Float64);
        AdamReference b = new(reference.B, Options.WeightDecay);
        AdamReference? magnitude = reference.Magnitude is { } m ? new(m, decay: 0) : null;
        using LoraFaAdamW optimizer = new(run.Adapted, Options);
        using Tensor a = run.Adapter.A.detach().clone();
        for (int step = 0; step < 4; step++)
        {
            run.Backward(step);
            optimizer.step();
            optimizer.zero_grad();

            Tensor y = Run.Input(step).to(ScalarType.Float64).matmul(Reference.EffectiveWeight(w, reference).t());
            (y - Run.Target(step)).square().sum().backward();
            Tensor gram = reference.A.detach().matmul(reference.A.detach().t()) + (1e-8 * eye(6, dtype: ScalarType.Float64));
            b.Step(linalg.solve(gram, reference.B.grad!.t()).t() / (reference.Scaling * reference.Scaling));
            magnitude?.Step(reference.Magnitude!.grad!);
            reference.A.grad?.zero_();

            Reference.RelativeError(run.Adapter.B, reference.B).Should().BeLessThan(1e-5);
            if (dora)
            {
                Reference.RelativeError(run.Adapter.Magnitude!, reference.Magnitude!).Should().BeLessThan(1e-5);
            }
        }

        run.Adapter.A.requires_grad.Should().BeFalse();
        Reference.SameBits(run.Adapter.A, a).Should().BeTrue();
    }

    [Fact]
    public void SaveStateDict_InTheMiddle_ContinuesBitForBit()
    {
        using var scope = NewDisposeScope();
        using Run run = new(new LoraOptions { Rank = 4, UseDora = true, TargetModules = ["fc"] });
        using LoraFaAdamW first = new(run.Adapted, Options);
        Train(first, 0, 3);
        using MemoryStream state = new();
        first.save_state_dict(new BinaryWriter(state));
        using Tensor b = run.Adapter.B.detach().clone();
        using Tensor magnitude = run.Adapter.Magnitude!.detach().clone();
        Train(first, 3, 5);
        using Tensor uninterrupted = run.Adapter.B.detach().clone();

        using (no_grad())
        {
            run.Adapter.B.copy_(b);
            run.Adapter.Magnitude!.copy_(magnitude);
        }

        using LoraFaAdamW second = new(run.Adapted, Options with { LearningRate = 1 });
        state.Position = 0;
        second.load_state_dict(new BinaryReader(state));
        Train(second, 3, 5);

        Reference.SameBits(run.Adapter.B, uninterrupted).Should().BeTrue();

        void Train(LoraFaAdamW optimizer, int from, int to)
        {
            for (int step = from; step < to; step++)
            {
                optimizer.zero_grad();
                run.Backward(step);
                optimizer.step();
            }
        }
    }

    [Fact]
    public void Step_AIsChangedInPlace_ProjectsByTheNewA()
    {
        using var scope = NewDisposeScope();
        using Run run = new(new LoraOptions { Rank = 4, TargetModules = ["fc"] });
        using LoraFaAdamW optimizer = new(run.Adapted, Options);
        run.Backward(0);
        optimizer.step();
        using (no_grad())
        {
            run.Adapter.A.copy_(randn(4, Run.Inputs));
        }

        using Run fresh = new(new LoraOptions { Rank = 4, TargetModules = ["fc"] });
        using (no_grad())
        {
            fresh.Adapter.A.copy_(run.Adapter.A);
            fresh.Adapter.B.copy_(run.Adapter.B);
        }

        using LoraFaAdamW other = new(fresh.Adapted, Options);
        Momentless(optimizer);
        Momentless(other);
        optimizer.zero_grad();
        run.Backward(1);
        optimizer.step();
        fresh.Backward(1);
        other.step();

        Reference.SameBits(run.Adapter.B, fresh.Adapter.B).Should().BeTrue();

        static void Momentless(LoraFaAdamW optimizer)
        {
            foreach (AdamW.State state in optimizer.state_dict().State.Cast<AdamW.State>())
            {
                state.step = 0;
                state.exp_avg.zero_();
                state.exp_avg_sq.zero_();
            }
        }
    }

    [Fact]
    public void Step_ConvolutionWithGroups_ProjectsGroupByGroup()
    {
        using var scope = NewDisposeScope();
        manual_seed(131);
        using MixedModel model = new();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 4, Alpha = 6, TargetModules = ["grouped"] });
        LoraAdapter adapter = (LoraAdapter)adapted.Layers[0].Value["default"];
        Tensor before = adapter.B.detach().clone();
        using LoraFaAdamW optimizer = new(adapted, new() { LearningRate = 0.5, Epsilon = 1 });
        model.call(MixedModel.Ids()).square().sum().backward();
        Tensor[] projected =
        [
            .. adapter.B.grad!.chunk(2, 0).Zip(adapter.A.detach().chunk(2, 0), (gradient, a) =>
                gradient.matmul(linalg.inv(a.matmul(a.t()) + (1e-8 * eye(2, dtype: ScalarType.Float64)))) / (1.5 * 1.5)),
        ];
        Tensor step = cat(projected, 0);
        Tensor expected = before - (0.5 * Math.Sqrt(0.001) * step / ((Math.Sqrt(0.001) * step.abs()) + 1));

        optimizer.step();

        adapter.B.shape.Should().Equal(18, 2);
        Reference.RelativeError(adapter.B, expected).Should().BeLessThan(1e-10);
    }

    [Fact]
    public void Step_ManyTimes_LeavesNoTensorBehind()
    {
        using var scope = NewDisposeScope();
        using Run run = new(new LoraOptions { Rank = 4, UseDora = true, TargetModules = ["fc"] });
        long before = LiveTensors.Count;
        using (LoraFaAdamW optimizer = new(run.Adapted, Options))
        {
            run.Backward(0);
            optimizer.step();
            long running = LiveTensors.Count;
            for (int step = 1; step < 12; step++)
            {
                optimizer.step();
            }

            LiveTensors.Count.Should().Be(running);
        }

        // The gradients and the layer's norms stay.
        LiveTensors.Count.Should().BeLessThanOrEqualTo(before + 5);
    }

    [Fact]
    public void Schedule_OfTorchSharp_ChangesTheRate()
    {
        using var scope = NewDisposeScope();
        using Run run = new(new LoraOptions { Rank = 4, UseDora = true, TargetModules = ["fc"] });
        using LoraFaAdamW optimizer = new(run.Adapted, Options);
        optim.lr_scheduler.LRScheduler schedule = optim.lr_scheduler.StepLR(optimizer, step_size: 1, gamma: 0.5);
        schedule.step();

        optimizer.ParamGroups.Select(group => group.LearningRate).Should().Equal(0.01, 0.01);
    }

    [Fact]
    public void Create_FactorsThatCannotLearn_FailsAndFreezesNothing()
    {
        using var scope = NewDisposeScope();
        using Parameter a = new(randn(3, 7));
        using Parameter zero = new(zeros(3, 7));
        using Parameter b = new(zeros(5, 3));
        NamedParameter[] trained = [new("x.lora_A.weight", a, 2), new("x.lora_B.weight", b, 2)];

        Fails([new("x", a, b, 2), new("emb", zero, b, 2)], trained, "A of 'emb' is zero*");
        Fails([new("x", a, b, 0)], trained, "The scaling of 'x' is 0*");
        Fails([new("x", a, b, 2)], trained[..1], "Nothing trains*");
        a.requires_grad.Should().BeTrue();

        // An optimizer that was refused must not fail in its finalizer.
        GC.Collect();
        GC.WaitForPendingFinalizers();

        static void Fails(FactorPair[] pairs, NamedParameter[] trained, string message)
        {
            Action create = () => new LoraFaAdamW(pairs, trained, Options).Dispose();
            create.Should().Throw<InvalidOperationException>().WithMessage(message);
        }
    }

    [Fact]
    public void Options_ValuesOutOfRange_NameThem()
    {
        Throws(() => _ = Options with { LearningRate = double.NaN }, nameof(LoraFaOptions.LearningRate));
        Throws(() => _ = Options with { Beta1 = 1 }, nameof(LoraFaOptions.Beta1));
        Throws(() => _ = Options with { Beta2 = -0.1 }, nameof(LoraFaOptions.Beta2));
        Throws(() => _ = Options with { Epsilon = -1e-9 }, nameof(LoraFaOptions.Epsilon));
        Throws(() => _ = Options with { WeightDecay = double.PositiveInfinity }, nameof(LoraFaOptions.WeightDecay));

        static void Throws(Action action, string name) => action.Should().Throw<ArgumentOutOfRangeException>().WithParameterName(name);
    }

    /// <summary>An adapted layer [29, 47] without bias, and data for it.</summary>
    private sealed class Run : IDisposable
    {
        public const int Inputs = 47;
        private const int Outputs = 29;
        private readonly Linear layer;
        private readonly Sequential model;

        public Run(LoraOptions options)
        {
            manual_seed(17);
            layer = nn.Linear(Inputs, Outputs, hasBias: false);
            model = nn.Sequential(("fc", layer));
            Adapted = AdapterInjector.Inject(model, options);
            Reference.Disturb(Adapted.Layers[0].Value);
        }

        public AdaptedModel Adapted { get; }

        public Tensor Weight => layer.weight;

        public LoraAdapter Adapter => (LoraAdapter)Adapted.Layers[0].Value["default"];

        public static Tensor Input(int step) => Data(step, Inputs);

        public static Tensor Target(int step) => Data(step + 1000, Outputs);

        public void Backward(int step)
        {
            using var scope = NewDisposeScope();
            (model.call(Input(step)) - Target(step)).square().sum().backward();
        }

        public void Dispose()
        {
            Adapted.Dispose();
            model.Dispose();
            layer.Dispose();
        }

        private static Tensor Data(int seed, int features)
        {
            using Generator generator = new((ulong)seed);
            return randn([13, features], generator: generator);
        }
    }

    /// <summary>AdamW by its formulas: η·√(1−β₂ᵗ)/(1−β₁ᵗ)·m/(√v + ε), then the decay.</summary>
    private sealed class AdamReference(Tensor parameter, double decay)
    {
        private readonly Tensor mean = zeros_like(parameter);
        private readonly Tensor square = zeros_like(parameter);
        private int t;

        public void Step(Tensor gradient)
        {
            using var noGrad = no_grad();
            t++;
            mean.copy_((Options.Beta1 * mean) + ((1 - Options.Beta1) * gradient));
            square.copy_((Options.Beta2 * square) + ((1 - Options.Beta2) * gradient * gradient));
            Tensor moved = Math.Sqrt(1 - Math.Pow(Options.Beta2, t)) / (1 - Math.Pow(Options.Beta1, t)) * mean / (square.sqrt() + Options.Epsilon);
            Tensor stepped = parameter - (Options.LearningRate * moved);
            parameter.copy_(stepped - (Options.LearningRate * decay * stepped));
            parameter.grad!.zero_();
        }
    }
}
