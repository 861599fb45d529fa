using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Contract;

/// <summary>What holds for every kind of layer with every kind of adapter in every dtype.</summary>
public class LayerContractTests
{
    public static TheoryData<string, AdapterKind, ScalarType> Everything() => Rows(ScalarType.Float64, ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float16);

    public static TheoryData<string, AdapterKind, ScalarType> InFloat64() => Rows(ScalarType.Float64);

    public static TheoryData<string, AdapterKind, ScalarType> InFloat32() => Rows(ScalarType.Float32);

    public static TheoryData<string> Layers() => [.. LayerCases.All.Select(layer => layer.Name)];

    public static TheoryData<string> LayersThatCannotMerge() => [.. LayerCases.All.Where(layer => !layer.CanMerge).Select(layer => layer.Name)];

    [Theory]
    [MemberData(nameof(Everything))]
    public void Fresh_LeavesTheOutputAsItWasBitForBit(string layer, AdapterKind kind, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        using AdaptedCase subject = new(LayerCases.Of(layer), kind, dtype);
        Tensor expected = subject.Layer.call(subject.Input);

        Reference.SameBits(subject.Run(), expected).Should().BeTrue();
        subject.Model.eval();
        Reference.SameBits(subject.Run(), expected).Should().BeTrue();
    }

    [Theory]
    [MemberData(nameof(Everything))]
    public void ForwardAndBackward_EqualFloat64AutogradOfTheDefinition(string layer, AdapterKind kind, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        using AdaptedCase subject = new(LayerCases.Of(layer), kind, dtype);
        subject.Disturb();
        if (!subject.Case.TakesIds)
        {
            subject.Input.requires_grad_(true);
        }

        Definition definition = new(subject, AdaptedCase.First);
        Tensor y = subject.Run();
        Tensor expected = definition.Output();
        Tensor dy = randn(y.shape).to(dtype);
        y.backward([dy]);
        expected.backward([dy.to(ScalarType.Float64)]);

        y.dtype.Should().Be(dtype);
        Reference.RelativeError(y, expected).Should().BeLessThan(Tolerance(dtype));
        subject.Weight.grad.Should().BeNull();
        subject.Adapted.TrainableParameters().Should().HaveCount(definition.Trained.Count);
        foreach ((Parameter live, Tensor copy) in definition.Trained)
        {
            live.grad.Should().NotBeNull();
            Reference.RelativeError(live.grad!, copy.grad!).Should().BeLessThan(2 * Tolerance(dtype));
        }

        if (!subject.Case.TakesIds)
        {
            Reference.RelativeError(subject.Input.grad!, definition.Input.grad!).Should().BeLessThan(2 * Tolerance(dtype));
        }
    }

    [Theory]
    [MemberData(nameof(Everything))]
    public void EffectiveWeight_IsTheDefinitionRoundedOnce(string layer, AdapterKind kind, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        using AdaptedCase subject = new(LayerCases.Of(layer), kind, dtype);
        subject.Disturb();
        Tensor expected = new Definition(subject, AdaptedCase.First).EffectiveWeight();
        double rounding = dtype switch { ScalarType.Float64 => 1e-13, ScalarType.Float32 => 2e-7, ScalarType.Float16 => 1e-3, _ => 8e-3 };

        Tensor effective = subject.Stack.EffectiveWeight();
        effective.dtype.Should().Be(dtype);
        Reference.RelativeError(effective, expected).Should().BeLessThan(rounding);
        Reference.SameBits(subject.Adapted.Layers[0].Value.EffectiveWeight(), effective).Should().BeTrue();
    }

    [Theory]
    [MemberData(nameof(Everything))]
    public void MergeAndUnmerge_GiveTheAdaptedOutputAndTheBitsBack(string layer, AdapterKind kind, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        using AdaptedCase subject = new(LayerCases.Of(layer), kind, dtype);
        bool cannotMerge = !subject.Case.CanMerge || (kind == AdapterKind.LoraWithBias && subject.Bias is null);
        subject.Disturb();
        Tensor adapted = subject.Run();
        Tensor weight = subject.Weight.detach().clone();
        Tensor? bias = subject.Bias?.detach().clone();
        if (cannotMerge)
        {
            subject.Adapted.Invoking(a => a.Merge()).Should().Throw<InvalidOperationException>().WithMessage("layer cannot be merged*Nothing was merged*");
            subject.Adapted.Invoking(a => a.MergeAndUnload()).Should().Throw<InvalidOperationException>().WithMessage("layer cannot be merged*Nothing was merged*");
            Reference.SameBits(subject.Weight, weight).Should().BeTrue();
            Reference.SameBits(subject.Run(), adapted).Should().BeTrue();
            return;
        }

        subject.Adapted.Merge();
        Tensor merged = subject.Run();
        Reference.RelativeError(merged, adapted).Should().BeLessThan(Tolerance(dtype));
        Reference.SameBits(subject.Layer.call(subject.Input), merged).Should().BeTrue();
        subject.Adapted.Unmerge();
        Reference.SameBits(subject.Weight, weight).Should().BeTrue();
        (bias is null || Reference.SameBits(subject.Bias!, bias)).Should().BeTrue();
        Reference.SameBits(subject.Run(), adapted).Should().BeTrue();

        subject.Adapted.MergeAndUnload();
        Reference.SameBits(subject.Run(), merged).Should().BeTrue();
        subject.Model.named_parameters().Select(p => p.name).Should().BeSubsetOf(["layer.weight", "layer.bias"]);
        subject.Model.parameters().Should().OnlyContain(p => p.requires_grad);
    }

    [Theory]
    [MemberData(nameof(LayersThatCannotMerge))]
    public void Merge_GroupsOfPeft_NamesTheReasonAndTheWayOut(string layer)
    {
        using AdaptedCase subject = new(LayerCases.Of(layer), AdapterKind.Dora, ScalarType.Float32);
        subject.Adapted.Invoking(a => a.Merge()).Should().Throw<InvalidOperationException>()
            .WithMessage("*layer cannot be merged*2 groups*GroupedUpdate.Mergeable*");
    }

    [Fact]
    public void Add_OtherLayoutOfGroups_IsRefusedByName()
    {
        using var scope = NewDisposeScope();
        foreach (LayerCase layer in LayerCases.All.Where(layer => layer.Name.Contains("groups", StringComparison.Ordinal)))
        {
            using AdaptedCase subject = new(layer, AdapterKind.Lora, ScalarType.Float32);
            GroupedUpdate other = layer.CanMerge ? GroupedUpdate.Peft : GroupedUpdate.Mergeable;
            subject.Adapted.Invoking(a => a.Add("b", new() { Rank = 4, TargetModules = ["layer"], GroupedUpdate = other }))
                .Should().Throw<ArgumentException>().WithMessage($"*GroupedUpdate: here {layer.GroupedUpdate}, not {other}*");
            subject.Stack.Names.Should().Equal(AdaptedCase.First);
            if (!layer.CanMerge)
            {
                subject.Adapted.Invoking(a => a.AddVera("b", new() { Rank = 4, TargetModules = ["layer"] })).Should().Throw<ArgumentException>().WithMessage("*GroupedUpdate*");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Layers))]
    public void SeveralAdapters_AreFoldedInTheOrderOfActivation(string layer)
    {
        using var scope = NewDisposeScope();
        using AdaptedCase subject = new(LayerCases.Of(layer), AdapterKind.Dora, ScalarType.Float64, bias: BiasTraining.None);
        subject.Add("b", AdapterKind.Lora);
        subject.Add("c", AdapterKind.Dora);
        subject.Add("d", AdaptedCase.Exists(subject.Case, AdapterKind.Dvora) ? AdapterKind.Dvora : AdapterKind.Lora);
        subject.Add("e", AdaptedCase.Exists(subject.Case, AdapterKind.LoraWithBias) ? AdapterKind.LoraWithBias : AdapterKind.Lora);
        subject.Disturb();
        Tensor bare = subject.Layer.call(subject.Input);
        foreach (string[] names in (string[][])[["a", "b", "c"], ["c", "b", "a"], ["b", "e", "d", "a", "c"], ["e", "c"], ["b"], []])
        {
            subject.Adapted.Activate(names);
            Definition definition = new(subject, names);
            Tensor y = subject.Run();
            Tensor expected = definition.Output();
            Reference.RelativeError(y, expected).Should().BeLessThan(1e-11, string.Join(",", names));
            Reference.RelativeError(subject.Stack.EffectiveWeight(), definition.EffectiveWeight()).Should().BeLessThan(1e-12);
            if (names.Length == 0)
            {
                Reference.SameBits(y, bare).Should().BeTrue();
                continue;
            }

            y.sum().backward();
            expected.sum().backward();
            foreach ((Parameter live, Tensor copy) in definition.Trained.Where(pair => !ReferenceEquals(pair.Live, subject.Bias)))
            {
                Reference.RelativeError(live.grad!, copy.grad!).Should().BeLessThan(1e-10, string.Join(",", names));
                live.grad = null;
            }

            bool hasBias = names.Any(name => subject.Stack[name] is LoraAdapter { BiasOfB: not null });
            if (subject.Case.CanMerge && !(hasBias && subject.Bias is null))
            {
                subject.Adapted.Merge();
                Reference.RelativeError(subject.Run(), expected).Should().BeLessThan(1e-11, string.Join(",", names));
                subject.Adapted.Unmerge();
                Reference.SameBits(subject.Run(), y).Should().BeTrue();
            }
        }
    }

    [Theory]
    [MemberData(nameof(InFloat64))]
    public void Training_WithDropout_DropsTheAdaptersInputOnly(string layer, AdapterKind kind, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        using AdaptedCase subject = new(LayerCases.Of(layer), kind, dtype, dropout: 0.25);
        subject.Disturb();
        Definition definition = new(subject, AdaptedCase.First);
        Tensor Mask(Tensor x) => (arange(x.numel()) * 7 % 5).ne(0).reshape(x.shape).to(x.dtype);
        Tensor expected = definition.DroppedOutput(Mask, 0.25);
        Tensor y;
        using (InputDropout.WithMask(Mask))
        {
            y = subject.Run();
        }

        Tensor dy = randn(y.shape, dtype: dtype);
        y.backward([dy]);
        expected.backward([dy]);
        Reference.RelativeError(y, expected).Should().BeLessThan(1e-11);
        foreach ((Parameter live, Tensor copy) in definition.Trained)
        {
            Reference.RelativeError(live.grad!, copy.grad!).Should().BeLessThan(1e-10);
        }

        subject.Model.eval();
        Reference.RelativeError(subject.Run(), new Definition(subject, AdaptedCase.First).Output()).Should().BeLessThan(1e-11);
    }

    [Theory]
    [MemberData(nameof(InFloat32))]
    public void Training_ThirtySteps_KeepsTheLiveTensorCountFlatAndLearns(string layer, AdapterKind kind, ScalarType dtype)
    {
        using var outer = NewDisposeScope();
        using AdaptedCase subject = new(LayerCases.Of(layer), kind, dtype, dropout: 0.1);
        Tensor target = (subject.Run().detach() * 0.5) + 0.3;
        using var optimizer = optim.AdamW(subject.Adapted.TrainableParameters(), lr: 1e-2);
        double first = Step();
        Step();
        long tensors = LiveTensors.Count;
        double last = 0;
        for (int i = 0; i < 30; i++)
        {
            last = Step();
        }

        LiveTensors.Count.Should().Be(tensors);
        last.Should().BeLessThan(first);

        double Step()
        {
            // TorchSharp's optimizers leave handles behind; the model gets no scope to hide its own in.
            using (NewDisposeScope())
            {
                optimizer.zero_grad();
            }

            using Tensor y = subject.Run();
            using Tensor loss = nn.functional.mse_loss(y, target);
            loss.backward();
            using (NewDisposeScope())
            {
                optimizer.step();
            }

            return loss.item<float>();
        }
    }

    [Theory]
    [MemberData(nameof(InFloat32))]
    public void StateDictAndTo_AreFollowed(string layer, AdapterKind kind, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        using AdaptedCase subject = new(LayerCases.Of(layer), kind, dtype);
        subject.Disturb();
        Tensor before = subject.Run();
        Dictionary<string, Tensor> saved = subject.Model.state_dict().ToDictionary(p => p.Key, p => p.Value.detach().clone());
        subject.Disturb(seed: 6);
        Reference.RelativeError(subject.Run(), before).Should().BeGreaterThan(1e-3);
        subject.Model.load_state_dict(saved);
        Reference.SameBits(subject.Run(), before).Should().BeTrue();

        subject.Model.to(ScalarType.Float64);
        subject.Input = subject.Case.TakesIds ? subject.Input : subject.Input.to(ScalarType.Float64);
        Tensor after = subject.Run();
        after.dtype.Should().Be(ScalarType.Float64);
        Reference.RelativeError(after, new Definition(subject, AdaptedCase.First).Output()).Should().BeLessThan(1e-11);
        Reference.RelativeError(before, after).Should().BeLessThan(1e-5);
    }

    private static double Tolerance(ScalarType dtype) => dtype switch { ScalarType.Float64 => 1e-11, ScalarType.Float32 => 1e-5, ScalarType.Float16 => 4e-3, _ => 2e-2 };

    private static TheoryData<string, AdapterKind, ScalarType> Rows(params ScalarType[] types)
    {
        TheoryData<string, AdapterKind, ScalarType> data = [];
        foreach (LayerCase layer in LayerCases.All)
        {
            foreach (AdapterKind kind in Enum.GetValues<AdapterKind>().Where(kind => AdaptedCase.Exists(layer, kind)))
            {
                foreach (ScalarType dtype in types)
                {
                    data.Add(layer.Name, kind, dtype);
                }
            }
        }

        return data;
    }
}
