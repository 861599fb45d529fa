using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Optimization;

public class AdamW8BitTests
{
    private static readonly AdamW8BitOptions Options = new() { LearningRate = 0.02, WeightDecay = 0.1, Beta1 = 0.8, Beta2 = 0.95, Epsilon = 1e-6 };

    /// <summary>
    /// Each step is AdamW's from what was stored, and what is stored is at most half a gap between two levels from what is to be stored,
    /// and the width of a bin besides.
    /// </summary>
    [Theory]
    [InlineData(ScalarType.Float32, 4e-7)]
    [InlineData(ScalarType.BFloat16, 1.0 / 256)]
    [InlineData(ScalarType.Float16, 1.0 / 2048)]
    public void Step_FromStoredStates_FollowsTheDefinitionInFloat64(ScalarType dtype, double tolerance)
    {
        using var scope = NewDisposeScope();
        using Parameter p = Parameter(dtype, 61, 83);
        using AdamW8Bit optimizer = new([p], Options);
        AdamW8BitState state = State(optimizer);
        for (int t = 1; t <= 5; t++)
        {
            p.grad = Gradient(t, dtype, p.shape);
            Tensor before = p.detach().to(ScalarType.Float64);
            (Tensor m, Tensor v) = Means(Decoded(state.Mean, p), Decoded(state.Square, p), p.grad.to(ScalarType.Float64));

            optimizer.step();

            Tensor expected = Moved(before, m, v, t);
            (p.detach().to(ScalarType.Float64) - expected).abs().le((tolerance * expected.abs()) + 1e-6).all().item<bool>().Should().BeTrue();
            WithinHalfAGap(state.Mean, m.flatten(), CodeMap.DynamicSigned);
            WithinHalfAGap(state.Square, v.flatten(), CodeMap.DynamicUnsigned);
        }
    }

    /// <summary>Errors of at most half a level of 64 or 128 per step, now up, now down: a few percent of the way that a parameter goes.</summary>
    [Fact]
    public void Step_Often_StaysWithEightBitsOfAdamWInFloat64()
    {
        using var scope = NewDisposeScope();
        using Parameter p = Parameter(ScalarType.Float32, 61, 83);
        using AdamW8Bit optimizer = new([p], Options);
        Tensor start = p.detach().to(ScalarType.Float64), expected = start, m = zeros_like(start), v = zeros_like(start);
        for (int t = 1; t <= 40; t++)
        {
            p.grad = Gradient(t, ScalarType.Float32, p.shape) + Gradient(0, ScalarType.Float32, p.shape);
            (m, v) = Means(m, v, p.grad.to(ScalarType.Float64));
            expected = Moved(expected, m, v, t);
            optimizer.step();
        }

        Reference.RelativeError(p - start, expected - start).Should().BeInRange(1e-4, 0.03);
    }

    [Fact]
    public void Step_SmallParameter_KeepsItsStatesIn32Bits()
    {
        using var scope = NewDisposeScope();
        using Parameter small = Parameter(ScalarType.Float32, 63, 65);
        using Parameter large = Parameter(ScalarType.Float32, 64, 64);
        using AdamW8Bit optimizer = new([small, large], Options);
        Tensor expected = small.detach().to(ScalarType.Float64), m = zeros_like(expected), v = zeros_like(expected);
        for (int t = 1; t <= 10; t++)
        {
            small.grad = Gradient(t, ScalarType.Float32, small.shape);
            (m, v) = Means(m, v, small.grad.to(ScalarType.Float64));
            expected = Moved(expected, m, v, t);
            optimizer.step();
        }

        optimizer.state_dict().State.Cast<AdamW8BitState>().Select(state => state.Mean is Blockwise8Moment).Should().Equal(false, true);
        Reference.RelativeError(small, expected).Should().BeLessThan(1e-6);
    }

    /// <summary>The reference on a CPU turns their means into 2e-5 of the block's largest, and steps by their ratio.</summary>
    [Fact]
    public void Step_GradientIsAlwaysZeroSomewhere_LeavesThoseParametersAlone()
    {
        using var scope = NewDisposeScope();
        using Parameter p = Parameter(ScalarType.Float32, 61, 83);
        using Tensor before = p.detach().clone();
        using AdamW8Bit optimizer = new([p], Options with { WeightDecay = 0 });
        for (int t = 1; t <= 10; t++)
        {
            Tensor gradient = Gradient(t, ScalarType.Float32, p.shape);
            gradient.narrow(1, 0, 20).zero_();
            p.grad = gradient;
            optimizer.step();
        }

        Reference.SameBits(p.detach().narrow(1, 0, 20).contiguous(), before.narrow(1, 0, 20).contiguous()).Should().BeTrue();
        p.detach().narrow(1, 20, 63).ne(before.narrow(1, 20, 63)).all().item<bool>().Should().BeTrue();
    }

    [Fact]
    public void Step_NoGradient_LeavesParameterAndStateAlone()
    {
        using var scope = NewDisposeScope();
        using Parameter idle = Parameter(ScalarType.Float32, 61, 83);
        using Parameter busy = Parameter(ScalarType.Float32, 61, 83);
        using Tensor before = idle.detach().clone();
        using AdamW8Bit optimizer = new([idle, busy], Options);
        busy.grad = Gradient(1, ScalarType.Float32, busy.shape);
        optimizer.step();
        Reference.SameBits(idle, before).Should().BeTrue();

        // The bias of its means is corrected from its own first step on.
        idle.grad = Gradient(1, ScalarType.Float32, idle.shape);
        busy.grad = null;
        optimizer.step();
        Reference.SameBits(idle, busy).Should().BeTrue();
    }

    [Fact]
    public void Step_MoreThanIsWorkedOnAtATime_EqualsItsParts()
    {
        using var scope = NewDisposeScope();
        const int head = (int)BlockSpan.Piece, tail = 777;
        using Parameter whole = Parameter(ScalarType.Float32, head + tail);
        using Parameter first = new(whole.detach().narrow(0, 0, head).clone());
        using Parameter last = new(whole.detach().narrow(0, head, tail).clone());
        using AdamW8Bit one = new([whole], Options);
        using AdamW8Bit two = new([first, last], Options with { Min8BitSize = 0 });
        for (int t = 1; t <= 2; t++)
        {
            whole.grad = Gradient(t, ScalarType.Float32, whole.shape);
            first.grad = whole.grad.narrow(0, 0, head);
            last.grad = whole.grad.narrow(0, head, tail);
            one.step();
            two.step();
        }

        Reference.SameBits(whole, cat([first.detach(), last.detach()])).Should().BeTrue();
    }

    [Fact]
    public void Step_ElementsNotInOrder_EqualsTheSameInOrder()
    {
        using var scope = NewDisposeScope();
        using Parameter ordered = Parameter(ScalarType.Float32, 61, 83);
        using Parameter turned = new(ordered.detach().t().contiguous().t());
        turned.is_contiguous().Should().BeFalse();
        using AdamW8Bit optimizer = new([ordered, turned], Options);
        ordered.grad = Gradient(1, ScalarType.Float32, ordered.shape);
        turned.grad = Gradient(1, ScalarType.Float32, ordered.shape);

        optimizer.step();

        Reference.SameBits(ordered, turned.detach().contiguous()).Should().BeTrue();
    }

    [Fact]
    public void Step_Maximize_GoesUp()
    {
        using var scope = NewDisposeScope();
        using Parameter down = Parameter(ScalarType.Float32, 61, 83);
        using Parameter up = Parameter(ScalarType.Float32, 61, 83);
        using AdamW8Bit optimizer = new([new AdamW.ParamGroup([down], new AdamW.Options()), new AdamW.ParamGroup([up], new AdamW.Options { maximize = true })], Options);
        down.grad = Gradient(1, ScalarType.Float32, down.shape);
        up.grad = -down.grad;

        optimizer.step();

        Reference.SameBits(up, down).Should().BeTrue();
    }

    [Fact]
    public void Step_Closure_EvaluatesItWithGradientsAndGivesItsValue()
    {
        using var scope = NewDisposeScope();
        using Parameter p = Parameter(ScalarType.Float32, 61, 83);
        using AdamW8Bit optimizer = new([p], Options);
        double before = p.square().sum().item<float>();

        using (no_grad())
        {
            Tensor loss = optimizer.step(() =>
            {
                Tensor value = p.square().sum();
                value.backward();
                return value;
            })!;
            loss.item<float>().Should().BeApproximately((float)before, 1e-3f * (float)before);
        }

        p.square().sum().item<float>().Should().BeLessThan((float)before);
        optimizer.step().Should().BeNull();
    }

    [Fact]
    public void Train_Regression_EndsWhereAdamWDoes()
    {
        using var scope = NewDisposeScope();
        using Generator generator = new(23);
        Tensor x = randn([256, 80], generator: generator), w = randn([80, 96], generator: generator);
        Tensor y = x.matmul(w) + (0.1 * randn([256, 96], generator: generator));

        double exact = Train(parameters => optim.AdamW(parameters, lr: 0.1, weight_decay: 0));
        double inEightBits = Train(parameters => new AdamW8Bit(parameters, new() { LearningRate = 0.1, WeightDecay = 0 }));

        // Of a loss of 80 at the start, both come to the noise, less what 80 inputs fit of it: 0.01 · (1 − 80/256).
        exact.Should().BeInRange(0.0060, 0.0080);
        inEightBits.Should().BeLessThan(exact * 1.01);

        double Train(Func<IEnumerable<Parameter>, optim.Optimizer> create)
        {
            using Parameter p = new(zeros(80, 96));
            using optim.Optimizer optimizer = create([p]);
            optim.lr_scheduler.LRScheduler schedule = optim.lr_scheduler.LinearLR(optimizer, start_factor: 1, end_factor: 0.01, total_iters: 400);
            double loss = 0;
            for (int step = 0; step < 400; step++)
            {
                using var inner = NewDisposeScope();
                optimizer.zero_grad();
                Tensor error = (x.matmul(p) - y).square().mean();
                error.backward();
                optimizer.step();
                schedule.step();
                loss = error.item<float>();
            }

            return loss;
        }
    }

    [Fact]
    public void Train_DoraWithGroupsOfLoraPlus_LearnsAndRenewsTheNorms()
    {
        using var scope = NewDisposeScope();
        manual_seed(5);
        using Linear layer = nn.Linear(96, 80);
        using Sequential model = nn.Sequential(("fc", layer));
        using AdaptedModel adapted = AdapterInjector.Inject(model, new LoraOptions { Rank = 8, UseDora = true, TargetModules = ["fc"] });
        LoraAdapter adapter = (LoraAdapter)adapted.Layers[0].Value["default"];
        Tensor x = randn(32, 96), target = randn(32, 80);
        using AdamW8Bit optimizer = new(LoraPlus.Groups(adapted, new() { LearningRate = 1e-3, Ratio = 16 }), new() { Min8BitSize = 256 });
        optimizer.ParamGroups.Select(group => group.LearningRate).Should().Equal(1e-3, 16e-3);
        float first = Loss().item<float>();
        for (int step = 0; step < 60; step++)
        {
            optimizer.zero_grad();
            Loss().backward();
            optimizer.step();
        }

        Loss().item<float>().Should().BeLessThan(0.7f * first);
        Tensor effective = Reference.EffectiveWeight(layer.weight.detach().to(ScalarType.Float64), Reference.Copy(adapter));
        Reference.RelativeError(model.call(x), x.to(ScalarType.Float64).matmul(effective.t()) + layer.bias!).Should().BeLessThan(1e-5);

        Tensor Loss() => (model.call(x) - target).square().mean();
    }

    [Fact]
    public void Schedules_OfTorchSharp_ChangeRateAndBetas()
    {
        using var scope = NewDisposeScope();
        using Parameter one = Parameter(ScalarType.Float32, 61, 83);
        using Parameter two = Parameter(ScalarType.Float32, 61, 83);
        using AdamW8Bit optimizer = new([one], Options);
        optimizer.add_param_group(new AdamW.ParamGroup([two], new AdamW.Options { LearningRate = 0.5 }));
        optim.lr_scheduler.StepLR(optimizer, step_size: 1, gamma: 0.5).step();
        optimizer.ParamGroups.Select(group => group.LearningRate).Should().Equal(0.01, 0.25);

        // A rate of 0 moves nothing.
        foreach (optim.ILearningRateController group in optimizer.ParamGroups)
        {
            group.LearningRate = 0;
        }

        using Tensor before = one.detach().clone();
        one.grad = Gradient(1, ScalarType.Float32, one.shape);
        optimizer.step();
        Reference.SameBits(one, before).Should().BeTrue();

        optim.lr_scheduler.OneCycleLR(optimizer, max_lr: 0.1, total_steps: 10);
        optimizer.ParamGroups.Cast<optim.IBetas>().Select(group => group.Betas.Item1).Should().Equal(0.95, 0.95);
    }

    [Fact]
    public void StateBytes_LargeParameters_AreAQuarterOfAdamWs()
    {
        using var scope = NewDisposeScope();
        using Parameter p = Parameter(ScalarType.Float32, 512, 300);
        using AdamW8Bit optimizer = new([p], Options);

        (optimizer.StateBytes / (8.0 * p.numel())).Should().BeApproximately((1 + (4.0 / 256)) / 4, 1e-12);
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void Step_ManyTimes_LeavesNoTensorBehind(ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        using Parameter p = Parameter(dtype, 61, 83);
        using Parameter small = Parameter(dtype, 61);
        p.grad = Gradient(1, dtype, p.shape);
        small.grad = Gradient(1, dtype, small.shape);

        // The levels of the codes are made once per device.
        new AdamW8Bit([p], Options).Dispose();
        using (AdamW8Bit once = new([p], Options))
        {
            once.step();
        }

        long before = LiveTensors.Count;
        using (AdamW8Bit optimizer = new([p, small], Options))
        {
            optimizer.step();
            LiveTensors.Count.Should().Be(before + 6);
            for (int step = 0; step < 12; step++)
            {
                optimizer.step();
            }

            LiveTensors.Count.Should().Be(before + 6);
        }

        LiveTensors.Count.Should().Be(before);
    }

    [Fact]
    public void Step_AfterDisposal_SaysSo()
    {
        using var scope = NewDisposeScope();
        using Parameter p = Parameter(ScalarType.Float32, 61, 83);
        AdamW8Bit optimizer = new([p], Options);
        optimizer.Dispose();
        optimizer.Dispose();

        FluentActions.Invoking(() => optimizer.step()).Should().Throw<ObjectDisposedException>();
    }

    private static AdamW8BitState State(AdamW8Bit optimizer) => (AdamW8BitState)optimizer.state_dict().State.Single();

    private static Parameter Parameter(ScalarType dtype, params long[] shape)
    {
        using Generator generator = new(99);
        using Tensor values = randn(shape, generator: generator);
        return new(values.to(dtype, copy: true));
    }

    private static Tensor Gradient(int seed, ScalarType dtype, long[] shape)
    {
        using Generator generator = new((ulong)seed);
        return (randn(shape, generator: generator) * 0.3).to(dtype);
    }

    private static Tensor Decoded(Moment moment, Tensor p) => moment.Load(0, p.numel()).view(p.shape).to(ScalarType.Float64);

    private static (Tensor M, Tensor V) Means(Tensor m, Tensor v, Tensor g) =>
        ((Options.Beta1 * m) + ((1 - Options.Beta1) * g), (Options.Beta2 * v) + ((1 - Options.Beta2) * g * g));

    private static Tensor Moved(Tensor p, Tensor m, Tensor v, int t)
    {
        Tensor step = m / (1 - Math.Pow(Options.Beta1, t)) / ((v / (1 - Math.Pow(Options.Beta2, t))).sqrt() + Options.Epsilon);
        return p - (Options.LearningRate * Options.WeightDecay * p) - (Options.LearningRate * step);
    }

    private static void WithinHalfAGap(Moment stored, Tensor exact, CodeMap map)
    {
        Tensor scales = ((Blockwise8Moment)stored).Scales.to(ScalarType.Float64).repeat_interleave(256).narrow(0, 0, exact.numel());
        Tensor levels = tensor(map.Levels).to(ScalarType.Float64), z = exact / scales;
        Tensor upper = z.bucketize(levels).clamp(1, 255);
        Tensor half = (levels.index_select(0, upper) - levels.index_select(0, upper - 1)) / 2;
        Tensor error = (stored.Load(0, exact.numel()).to(ScalarType.Float64) / scales - z).abs();
        error.le(half + (2.0 / 65535)).all().item<bool>().Should().BeTrue();
    }
}
