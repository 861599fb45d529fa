using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers;

public class AdaptedAttentionTests
{
    private const long Width = 24;
    private const long Heads = 4;

    private static readonly LoraOptions Options = new() { Rank = 3, Alpha = 5 };

    public static TheoryData<AttentionCall, bool> Calls()
    {
        TheoryData<AttentionCall, bool> data = [];
        foreach (AttentionCall call in Enum.GetValues<AttentionCall>())
        {
            data.Add(call, false);
            data.Add(call, true);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void Forward_FreshAdapters_IsTheBaseBitForBit(AttentionCall call, bool dora)
    {
        using var scope = NewDisposeScope();
        MultiheadAttention layer = Layer(call, ScalarType.Float32);
        AttentionInput input = Input(call, ScalarType.Float32);
        (Tensor y, Tensor weights) = Base(layer, call, input);
        using AdaptedAttention adapted = From(layer, call, Options with { UseDora = dora });

        (Tensor actual, Tensor actualWeights) = Run(adapted, input);
        Reference.SameBits(actual, y).Should().BeTrue();
        Reference.SameBits(actualWeights, weights).Should().BeTrue();
        Reference.SameBits(Run(adapted, TurnedInMemory(input)).Item1, actual).Should().BeTrue("how the inputs lie in memory does not matter");
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void ForwardAndBackward_TrainedAdapters_EqualTheDefinition(AttentionCall call, bool dora)
    {
        using var scope = NewDisposeScope();
        MultiheadAttention layer = Layer(call, ScalarType.Float64);
        using AdaptedAttention adapted = From(layer, call, Options with { UseDora = dora });
        Disturb(adapted);
        AttentionInput input = Input(call, ScalarType.Float64, gradients: true);
        ReferenceAdapter[] copies = [.. adapted.Adapters.Select(entry => Reference.Copy(entry.Value["default"]))];
        AttentionInput inputCopy = Input(call, ScalarType.Float64, gradients: true);
        (Tensor expected, Tensor expectedWeights) = Define(layer, inputCopy, [.. copies.Select(copy => new[] { copy })]);

        (Tensor actual, Tensor weights) = Run(adapted, input);

        Reference.RelativeError(actual, expected).Should().BeLessThan(1e-13);
        Reference.RelativeError(weights, expectedWeights).Should().BeLessThan(1e-13);
        Tensor dy = randn_like(actual);
        Tensor dw = randn_like(weights);
        ((actual * dy).sum() + (weights * dw).sum()).backward();
        ((expected * dy).sum() + (expectedWeights * dw).sum()).backward();
        Reference.RelativeError(input.Query.grad!, inputCopy.Query.grad!).Should().BeLessThan(1e-12);
        Reference.RelativeError(input.Key.grad!, inputCopy.Key.grad!).Should().BeLessThan(1e-12);
        Reference.RelativeError(input.Value.grad!, inputCopy.Value.grad!).Should().BeLessThan(1e-12);
        foreach (((_, AdapterStack stack), ReferenceAdapter copy) in adapted.Adapters.Zip(copies))
        {
            LoraAdapter adapter = (LoraAdapter)stack["default"];
            Reference.RelativeError(adapter.A.grad!, copy.A.grad!).Should().BeLessThan(1e-11);
            Reference.RelativeError(adapter.B.grad!, copy.B.grad!).Should().BeLessThan(1e-11);
            if (adapter.Magnitude is { } magnitude)
            {
                Reference.RelativeError(magnitude.grad!, copy.Magnitude!.grad!).Should().BeLessThan(1e-11);
            }
        }

        layer.parameters().Should().OnlyContain(p => ReferenceEquals(p.grad, null) && !p.requires_grad);
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void Forward_LoraAndDoraActive_FoldInTheOrderOfActivation(AttentionCall call, bool doraFirst)
    {
        using var scope = NewDisposeScope();
        MultiheadAttention layer = Layer(call, ScalarType.Float64);
        using AdaptedAttention adapted = From(layer, call, Options with { UseDora = doraFirst });
        foreach ((_, AdapterStack stack) in adapted.Adapters)
        {
            stack.Add("second", new() { Rank = 2, Alpha = 3, UseDora = !doraFirst });
            stack.Activate("second", "default");
        }

        Disturb(adapted);
        AttentionInput input = Input(call, ScalarType.Float64);

        Tensor expected = Define(layer, input, [.. adapted.Adapters.Select(entry => new[] { Reference.Copy(entry.Value["second"]), Reference.Copy(entry.Value["default"]) })]).Item1;
        Reference.RelativeError(Run(adapted, input).Item1, expected).Should().BeLessThan(1e-13);
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void Merge_Unmerge_GivesTheAdaptedOutputAndTheOriginalBits(AttentionCall call, bool dora)
    {
        using var scope = NewDisposeScope();
        MultiheadAttention layer = Layer(call, ScalarType.Float64);
        using AdaptedAttention adapted = From(layer, call, Options with { UseDora = dora });
        Disturb(adapted);
        AttentionInput input = Input(call, ScalarType.Float64);
        Tensor expected = Run(adapted, input).Item1;
        Tensor[] before = [.. layer.parameters().Select(p => p.detach().clone())];

        adapted.Merge();
        Reference.RelativeError(Run(adapted, input).Item1, expected).Should().BeLessThan(1e-13);
        if (call != AttentionCall.UnlikeWidths)
        {
            Reference.RelativeError(Base(layer, call, input).Item1, expected).Should().BeLessThan(1e-13, "the native layer runs on the merged weights");
        }

        adapted.Invoking(a => a.Merge()).Should().Throw<InvalidOperationException>();
        adapted.Unmerge();
        layer.parameters().Zip(before, Reference.SameBits).Should().OnlyContain(same => same);
        Reference.SameBits(Run(adapted, input).Item1, expected).Should().BeTrue();
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void Forward_AdapterPerSample_IsEachSamplesOwn(AttentionCall call, bool dora)
    {
        using var scope = NewDisposeScope();
        MultiheadAttention layer = Layer(call, ScalarType.Float64);
        using AdaptedAttention adapted = From(layer, call, Options with { UseDora = dora });
        foreach ((_, AdapterStack stack) in adapted.Adapters)
        {
            stack.Add("other", new() { Rank = 2, Alpha = 3 });
        }

        Disturb(adapted);
        AttentionInput input = Input(call, ScalarType.Float64);
        Tensor own = Run(adapted, input).Item1;
        adapted.Adapters.ToList().ForEach(entry => entry.Value.Activate("other"));
        Tensor other = Run(adapted, input).Item1;
        adapted.Adapters.ToList().ForEach(entry => entry.Value.Activate());
        Tensor none = Run(adapted, input).Item1;

        SampleAdapters samples = new(["other", "__base__", "default"]);
        adapted.Adapters.ToList().ForEach(entry => entry.Value.Samples = samples);
        Tensor mixed = Run(adapted, input).Item1;

        foreach ((Tensor expected, int sample) in new[] { (other, 0), (none, 1), (own, 2) })
        {
            Reference.RelativeError(mixed[TensorIndex.Colon, sample], expected[TensorIndex.Colon, sample]).Should().BeLessThan(1e-13);
        }

        adapted.Adapters.ToList().ForEach(entry => entry.Value.Samples = new(["other", "default"]));
        adapted.Invoking(a => Run(a, input)).Should().Throw<InvalidOperationException>().WithMessage("*2 samples*");
    }

    [Fact]
    public void Forward_DoublesAttentionOutput_AddsTheUpdateOfTheOutputProjectionTwice()
    {
        using var scope = NewDisposeScope();
        MultiheadAttention layer = Layer(AttentionCall.Cross, ScalarType.Float64);
        using AdaptedAttention adapted = AdaptedAttention.From(layer, Options with { DoublesAttentionOutput = true });
        Disturb(adapted);
        AttentionInput input = Input(AttentionCall.Cross, ScalarType.Float64);
        ReferenceAdapter[][] copies = [.. adapted.Adapters.Select(entry => new[] { Reference.Copy(entry.Value["default"]) })];
        copies[0][0].Scaling.Should().Be(5.0 / 3);
        copies[1] = [copies[1][0] with { Scaling = 2 * 5.0 / 3 }];

        Tensor expected = Define(layer, input, copies).Item1;
        Reference.RelativeError(Run(adapted, input).Item1, expected).Should().BeLessThan(1e-13);
        adapted.Merge();
        Reference.RelativeError(Base(layer, AttentionCall.Cross, input).Item1, expected).Should().BeLessThan(1e-13);
    }

    [Fact]
    public void Forward_Training_DropsAsTheBaseDoesAndAdaptersDropTheirInput()
    {
        using var scope = NewDisposeScope();
        MultiheadAttention layer = nn.MultiheadAttention(Width, Heads, 0.3);
        AttentionInput input = Input(AttentionCall.Cross, ScalarType.Float32);
        manual_seed(3);
        Tensor expected = Base(layer, AttentionCall.Cross, input).Item1;
        using AdaptedAttention adapted = AdaptedAttention.From(layer, Options with { Dropout = 0.5 });

        manual_seed(3);
        using (InputDropout.WithMask(x => ones_like(x)))
        {
            Reference.SameBits(Run(adapted, input).Item1, expected).Should().BeTrue();
        }

        adapted.eval();
        layer.training.Should().BeFalse();
        Disturb(adapted);
        Tensor kept = Run(adapted, input).Item1;
        Reference.SameBits(Run(adapted, input).Item1, kept).Should().BeTrue();
        foreach ((_, AdapterStack stack) in adapted.Adapters)
        {
            stack.train();
        }

        using (InputDropout.WithMask(x => zeros_like(x)))
        {
            Reference.MaxRelativeError(Run(adapted, input).Item1, Base(layer, AttentionCall.Cross, input).Item1).Should().BeLessThan(1e-6, "all inputs of the adapters were dropped");
        }
    }

    [Fact]
    public void Forward_WeightsNotNeeded_GivesTheSameOutputAndNoWeights()
    {
        using var scope = NewDisposeScope();
        using AdaptedAttention adapted = AdaptedAttention.From(Layer(AttentionCall.Self, ScalarType.Float64), Options);
        Disturb(adapted);
        AttentionInput input = Input(AttentionCall.Self, ScalarType.Float64);

        (Tensor y, Tensor none) = Run(adapted, input with { NeedWeights = false });
        Reference.SameBits(y, Run(adapted, input).Item1).Should().BeTrue();
        none.IsInvalid.Should().BeTrue();
        adapted.Invoking(a => a.call(input.Query, input.Key[.., .., ..5], input.Value)).Should().Throw<ArgumentException>().WithMessage("*Key*");
    }

    [Fact]
    public void To_OtherDtype_IsFollowedByBaseAndAdapters()
    {
        using var scope = NewDisposeScope();
        using AdaptedAttention adapted = AdaptedAttention.From(Layer(AttentionCall.Cross, ScalarType.Float32), Options with { UseDora = true });
        Disturb(adapted);
        AttentionInput input = Input(AttentionCall.Cross, ScalarType.Float32);
        Tensor expected = Run(adapted, input).Item1;

        adapted.to(ScalarType.Float64);
        Tensor actual = Run(adapted, Input(AttentionCall.Cross, ScalarType.Float64)).Item1;
        actual.dtype.Should().Be(ScalarType.Float64);
        Reference.RelativeError(actual, expected).Should().BeInRange(1e-12, 1e-5);
    }

    [Fact]
    public void StateDict_LoadedIntoAnotherLayer_GivesTheSameOutput()
    {
        using var scope = NewDisposeScope();
        using AdaptedAttention adapted = AdaptedAttention.From(Layer(AttentionCall.Self, ScalarType.Float32), Options with { UseDora = true });
        Disturb(adapted);
        AttentionInput input = Input(AttentionCall.Self, ScalarType.Float32);
        using MultiheadAttention fresh = nn.MultiheadAttention(Width, Heads);
        using AdaptedAttention other = AdaptedAttention.From(fresh, Options with { UseDora = true });

        adapted.state_dict().Keys.Should().Equal(
            "base_layer.in_proj_weight", "base_layer.in_proj_bias", "base_layer.out_proj.weight", "base_layer.out_proj.bias",
            "in_proj_adapters.default.lora_A", "in_proj_adapters.default.lora_B", "in_proj_adapters.default.lora_magnitude_vector",
            "out_proj_adapters.default.lora_A", "out_proj_adapters.default.lora_B", "out_proj_adapters.default.lora_magnitude_vector");
        other.load_state_dict(adapted.state_dict());
        other.eval();
        Reference.SameBits(Run(other, input).Item1, Run(adapted, input).Item1).Should().BeTrue();
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void Training_ManySteps_KeepsTheNumberOfTensorsAndLowersTheLoss(AttentionCall call, bool dora)
    {
        using var scope = NewDisposeScope();
        using AdaptedAttention adapted = From(Layer(call, ScalarType.Float32), call, Options with { UseDora = dora });
        AttentionInput input = Input(call, ScalarType.Float32);
        Tensor target = randn(input.Query.shape);
        using optim.Optimizer optimizer = optim.SGD(adapted.parameters().Where(p => p.requires_grad), 0.05);
        List<double> losses = [];
        long count = 0;
        for (int step = 0; step < 30; step++)
        {
            using (NewDisposeScope())
            {
                optimizer.zero_grad();
                Tensor loss = (Run(adapted, input).Item1 - target).square().mean();
                loss.backward();
                optimizer.step();
                losses.Add(loss.item<float>());
            }

            if (step == 9)
            {
                count = LiveTensors.Count;
            }
        }

        LiveTensors.Count.Should().Be(count);
        losses[^1].Should().BeLessThan(losses[0]);
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void Forward_ManyTimes_KeepsTheNumberOfTensors(AttentionCall call, bool dora)
    {
        using var scope = NewDisposeScope();
        using AdaptedAttention adapted = From(Layer(call, ScalarType.Float32), call, Options with { UseDora = dora });
        AttentionInput input = Input(call, ScalarType.Float32, gradients: true);
        long count = 0;
        for (int step = 0; step < 20; step++)
        {
            // No scope of the caller's: what is not returned must be gone.
            (Tensor y, Tensor weights) = Run(adapted, input);
            y.Dispose();
            weights.Dispose();
            count = step == 4 ? LiveTensors.Count : count;
        }

        LiveTensors.Count.Should().Be(count);
    }

    [Fact]
    public void Unload_AfterUse_GivesTheLayerBackAsItWas()
    {
        using var scope = NewDisposeScope();
        using MultiheadAttention layer = Layer(AttentionCall.Cross, ScalarType.Float32);
        layer.get_parameter("in_proj_bias")!.requires_grad = false;
        Tensor[] before = [.. layer.parameters().Select(p => p.detach().clone())];
        AttentionInput input = Input(AttentionCall.Cross, ScalarType.Float32);
        AdaptedAttention adapted = AdaptedAttention.From(layer);
        layer.parameters().Should().OnlyContain(p => !p.requires_grad);
        Run(adapted, input);

        adapted.Unload().Should().BeSameAs(layer);
        layer.named_parameters().Where(p => p.parameter.requires_grad).Select(p => p.name).Should().Equal("in_proj_weight", "out_proj.weight", "out_proj.bias");
        layer.parameters().Zip(before, Reference.SameBits).Should().OnlyContain(same => same);
        layer.call(input.Query, input.Key, input.Value).Item1.Dispose();
    }

    [Fact]
    public void From_WhatCannotBe_IsRefusedWithTheWayOut()
    {
        using MultiheadAttention layer = nn.MultiheadAttention(Width, Heads);
        using MultiheadAttention unlike = nn.MultiheadAttention(Width, Heads, kdim: 5, vdim: 7);
        FluentActions.Invoking(() => AdaptedAttention.From(layer, new() { LoraBias = true })).Should().Throw<NotSupportedException>().WithMessage("*LoraBias*");
        FluentActions.Invoking(() => AdaptedAttention.From(unlike)).Should().Throw<NotSupportedException>().WithMessage("*AdaptedAttention.From*");
        FluentActions.Invoking(() => AdaptedAttention.From(layer, attention: new() { Heads = 5 })).Should().Throw<ArgumentOutOfRangeException>().WithMessage("*divide*24*");
        FluentActions.Invoking(() => new AttentionOptions { Heads = 0 }).Should().Throw<ArgumentOutOfRangeException>();
        FluentActions.Invoking(() => new AttentionOptions { Heads = 1, Dropout = 1.5 }).Should().Throw<ArgumentOutOfRangeException>();
        layer.parameters().Should().OnlyContain(p => p.requires_grad);
    }

    private static MultiheadAttention Layer(AttentionCall call, ScalarType dtype)
    {
        manual_seed(21);
        MultiheadAttention layer = call switch
        {
            AttentionCall.OtherWidths => nn.MultiheadAttention(Width, Heads, kdim: 10, vdim: 10),
            AttentionCall.UnlikeWidths => nn.MultiheadAttention(Width, Heads, kdim: 10, vdim: 14),
            _ => nn.MultiheadAttention(Width, Heads),
        };
        layer.to(dtype).eval();
        using var noGrad = no_grad();
        foreach (Parameter parameter in layer.parameters())
        {
            parameter.copy_(randn(parameter.shape) * 0.4);
        }

        return layer;
    }

    private static AdaptedAttention From(MultiheadAttention layer, AttentionCall call, LoraOptions options) =>
        AdaptedAttention.From(layer, options, call == AttentionCall.UnlikeWidths ? new() { Heads = Heads } : null);

    private static AttentionInput Input(AttentionCall call, ScalarType dtype, bool gradients = false)
    {
        manual_seed(22);
        Tensor query = Random(5, Width);
        Tensor key = call switch { AttentionCall.Self => query, AttentionCall.Cross or AttentionCall.Memory => Random(7, Width), _ => Random(7, 10) };
        Tensor value = call switch { AttentionCall.Self or AttentionCall.Memory => key, AttentionCall.Cross => Random(7, Width), AttentionCall.OtherWidths => Random(7, 10), _ => Random(7, 14) };
        Tensor padding = zeros([3, key.shape[0]], ScalarType.Bool);
        padding[1, 2] = true;
        padding[2, 4] = true;
        return new(query, key, value, padding, true, randn(5, key.shape[0]).to(dtype));

        Tensor Random(long length, long width) => randn(length, 3, width).to(dtype).requires_grad_(gradients);
    }

    private static Tuple<Tensor, Tensor> Run(AdaptedAttention layer, AttentionInput input) =>
        layer.call(input.Query, input.Key, input.Value, input.KeyPaddingMask, input.NeedWeights, input.AttentionMask);

    /// <summary>The layer itself, or, where libtorch cannot run it, the managed twin.</summary>
    private static Tuple<Tensor, Tensor> Base(MultiheadAttention layer, AttentionCall call, AttentionInput input) => call == AttentionCall.UnlikeWidths
        ? AttentionForward.Run(input, AttentionWeights.Of(layer), Traits(layer), training: false)
        : layer.call(input.Query, input.Key, input.Value, input.KeyPaddingMask, input.NeedWeights, input.AttentionMask);

    private static AttentionTraits Traits(MultiheadAttention layer) => AttentionTraits.From(AttentionWeights.Of(layer), new() { Heads = Heads });

    /// <summary>The attention with dense effective weights, each adapter's in the order given.</summary>
    private static Tuple<Tensor, Tensor> Define(MultiheadAttention layer, AttentionInput input, ReferenceAdapter[][] adapters)
    {
        AttentionWeights weights = AttentionWeights.Of(layer);
        Tensor Effective(Tensor weight, int stack) => Reference.EffectiveWeight(weight.detach(), adapters[stack]);
        AttentionWeights effective = weights.InProjection is { } fused
            ? weights with { InProjection = Effective(fused, 0), OutProjection = Effective(weights.OutProjection, 1) }
            : weights with
            {
                QueryProjection = Effective(weights.QueryProjection!, 0),
                KeyProjection = Effective(weights.KeyProjection!, 1),
                ValueProjection = Effective(weights.ValueProjection!, 2),
                OutProjection = Effective(weights.OutProjection, 3),
            };
        return AttentionForward.Run(input, effective, Traits(layer), training: false);
    }

    private static void Disturb(AdaptedAttention layer)
    {
        int seed = 5;
        foreach ((_, AdapterStack stack) in layer.Adapters)
        {
            Reference.Disturb(stack, seed++);
        }
    }

    private static AttentionInput TurnedInMemory(AttentionInput input)
    {
        Tensor query = Turned(input.Query);
        Tensor key = ReferenceEquals(input.Key, input.Query) ? query : Turned(input.Key);
        return input with { Query = query, Key = key, Value = ReferenceEquals(input.Value, input.Key) ? key : Turned(input.Value) };

        static Tensor Turned(Tensor x) => x.transpose(0, 1).contiguous().transpose(0, 1);
    }
}
