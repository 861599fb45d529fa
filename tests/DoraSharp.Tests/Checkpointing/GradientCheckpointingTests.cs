using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Checkpointing;

public class GradientCheckpointingTests
{
    private static readonly LoraOptions Dora = new() { Rank = 4, UseDora = true, Dropout = .25, TargetModules = ["up", "down"] };

    [Theory]
    [InlineData(false, 0, false)]
    [InlineData(true, 0, false)]
    [InlineData(true, .25, false)]
    [InlineData(true, .25, true)]
    public void Enable_ModelWithAdapters_GivesTheGradientsBitForBit(bool dora, double dropout, bool injectedFirst)
    {
        using var scope = NewDisposeScope();
        manual_seed(21);
        using CheckpointModel model = CheckpointModel.OfBlocks();
        LoraOptions options = Dora with { UseDora = dora, Dropout = dropout };
        Tensor ids = randint(0, 50, [3, 11], dtype: ScalarType.Int64);
        GradientCheckpointing? checkpointing = injectedFirst ? null : GradientCheckpointing.Enable(model, CheckpointModel.Blocks);
        using AdaptedModel adapted = AdapterInjector.Inject(model, options, new() { Probe = () => model.call(ids) });
        Disturb(adapted);
        checkpointing ??= GradientCheckpointing.Enable(model, CheckpointModel.Blocks, () => model.call(ids));
        string[] names = [.. model.state_dict().Keys];

        checkpointing.Modules.Should().Equal("blocks.0", "blocks.1", "blocks.2");
        int runs = 0;
        model.Block(1).Midway = () => runs++;
        Tensor[] found = Train(adapted, model, ids);
        runs.Should().Be(2, "the block ran again in the backward pass");

        checkpointing.Dispose();
        model.state_dict().Keys.Should().Equal(names);
        Tensor[] expected = Train(adapted, model, ids);
        runs.Should().Be(3);
        found.Zip(expected).Should().HaveCount(1 + (dora ? 18 : 12)).And.OnlyContain(pair => Reference.SameBits(pair.First, pair.Second));
    }

    [Fact]
    public void Enable_SealedLayersThatAreCalled_GivesTheGradientsBitForBit()
    {
        using var scope = NewDisposeScope();
        manual_seed(22);
        using CheckpointModel model = new(new SealedBlock(24, 40, calls: true), new SealedBlock(24, 40, calls: true));
        Tensor ids = randint(0, 50, [3, 11], dtype: ScalarType.Int64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, Dora, new() { Probe = () => model.call(ids) });
        adapted.Report.Sites.Should().OnlyContain(site => site.Route == InjectionRoute.Hook);
        Disturb(adapted);
        CheckEqualGradients(adapted, model, ids);
    }

    [Fact]
    public void Enable_SubstitutedWeightsInsideTheModule_GivesTheGradientsBitForBit()
    {
        using var scope = NewDisposeScope();
        manual_seed(23);
        using CheckpointModel model = new(new SealedBlock(24, 40, calls: false), new SealedBlock(24, 40, calls: false));
        Tensor ids = randint(0, 50, [3, 11], dtype: ScalarType.Int64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, Dora with { Dropout = 0 }, new() { Probe = () => model.call(ids) });
        adapted.Report.Sites.Should().OnlyContain(site => site.Route == InjectionRoute.SubstituteWeight);
        Disturb(adapted);
        CheckEqualGradients(adapted, model, ids);

        using GradientCheckpointing checkpointing = GradientCheckpointing.Enable(model, CheckpointModel.Blocks);
        Tensor loss = model.call(ids).sum();
        using (adapted.Disable())
        {
            loss.Invoking(l => l.backward()).Should().Throw<ExternalException>().WithInnerException<InvalidOperationException>();
        }
    }

    [Fact]
    public void Enable_SubstitutedWeightsFromAbove_AreRefused()
    {
        using var scope = NewDisposeScope();
        manual_seed(24);
        using CheckpointModel model = new(new SealedBlock(24, 40, calls: false), new SealedBlock(24, 40, calls: false));
        Tensor ids = randint(0, 50, [3, 11], dtype: ScalarType.Int64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, Dora with { Dropout = 0 }, new() { SealedRoute = InjectionRoute.SubstituteWeight });
        using (GradientCheckpointing.Enable(model, CheckpointModel.Blocks))
        {
            model.Invoking(m => m.call(ids)).Should().Throw<InvalidOperationException>().WithMessage("*substituted weight*");
        }

        model.call(ids).sum().backward();
        Trained(adapted).Should().OnlyContain(parameter => parameter.grad as object != null);
    }

    [Fact]
    public void Backward_MagnitudesNorm_IsNotComputedAgain()
    {
        using var scope = NewDisposeScope();
        using CheckpointModel model = CheckpointModel.OfBlocks();
        using AdaptedModel adapted = AdapterInjector.Inject(model, Dora);
        using GradientCheckpointing checkpointing = GradientCheckpointing.Enable(model, CheckpointModel.Blocks);
        Tensor loss = model.call(randint(0, 50, [3, 11], dtype: ScalarType.Int64)).sum();
        AdapterStack stack = adapted.Layers[0].Value;
        LoraAdapter adapter = (LoraAdapter)stack["default"];
        Tensor before = adapter.Norm(stack.Weight);
        loss.backward();

        TensorMemory.Address(adapter.Norm(stack.Weight)).Should().Be(TensorMemory.Address(before));
    }

    [Fact]
    public void Enable_TensorsDeepInsideOfArgumentsAndResults_GivesTheGradientsBitForBit()
    {
        using var scope = NewDisposeScope();
        manual_seed(27);
        using NestedModel model = new();
        Tensor x = randn(5, 16, requires_grad: true);
        Tensor[] expected = Run();
        using GradientCheckpointing checkpointing = GradientCheckpointing.Enable(model, "block", () => model.call(x));
        Tensor[] found = Run();

        found.Zip(expected).Should().HaveCount(4).And.OnlyContain(pair => Reference.SameBits(pair.First, pair.Second));

        Tensor[] Run()
        {
            manual_seed(28);
            Tensor y = model.call(x);
            Tensor[] leaves = [x, .. model.parameters()];
            y.pow(2).sum().backward();
            Tensor[] results = [y.detach(), .. leaves.Select(leaf => leaf.grad!.clone())];
            Array.ForEach(leaves, leaf => leaf.grad = null);
            return results;
        }
    }

    public static TheoryData<string> Changes() => ["disabled", "samples", "activated", "merged", "scaled", "step", "converted"];

    [Theory]
    [MemberData(nameof(Changes))]
    public void Backward_AdaptersChangedSinceTheForwardPass_IsRefused(string change)
    {
        using var scope = NewDisposeScope();
        using CheckpointModel model = CheckpointModel.OfBlocks();
        using AdaptedModel adapted = AdapterInjector.Inject(model, Dora with { UseDora = false });
        adapted.Add("other", Dora);
        Tensor ids = randint(0, 50, [2, 11], dtype: ScalarType.Int64);
        CheckpointBlock block = model.Block(1);
        Tensor x = randn(2, 24, requires_grad: true);
        IDisposable? state = change switch { "disabled" => adapted.Disable(), "samples" => adapted.ForSamples("other", "default"), _ => null };

        // A function, of whose module nothing is known.
        Tensor loss = Checkpoint.Run(input => block.call(input), x).sum();
        state?.Dispose();
        switch (change)
        {
            case "activated":
                adapted.Activate("other");
                break;
            case "merged":
                adapted.Merge();
                break;
            case "scaled":
                adapted.SetScale("default", 2);
                break;
            case "step":
                using (no_grad())
                {
                    Trained(adapted)[^1].add_(1);
                    adapted.TrainableParameters().ToList().ForEach(parameter => parameter.add_(1));
                }

                break;
            case "converted":
                adapted.ConvertToDora("default");
                break;
        }

        loss.Invoking(l => l.backward()).Should().Throw<ExternalException>().WithInnerException<InvalidOperationException>();
    }

    [Fact]
    public void Call_ModuleThatThrows_LeavesTheNextStepsAlone()
    {
        using var scope = NewDisposeScope();
        manual_seed(25);
        using CheckpointModel model = CheckpointModel.OfBlocks();
        using AdaptedModel adapted = AdapterInjector.Inject(model, Dora);
        Tensor ids = randint(0, 50, [3, 11], dtype: ScalarType.Int64);
        Tensor[] expected = Train(adapted, model, ids);
        using GradientCheckpointing checkpointing = GradientCheckpointing.Enable(model, CheckpointModel.Blocks);
        CheckpointBlock block = model.Block(1);
        block.Midway = () => throw new TimeoutException();
        using (NewDisposeScope())
        {
            model.Invoking(m => m.call(ids)).Should().Throw<TimeoutException>();
        }

        block.Midway = null;
        Tensor[] found;
        using (var step = NewDisposeScope())
        {
            found = Array.ConvertAll(Train(adapted, model, ids), tensor => step.MoveToOuter(tensor));
        }

        found.Zip(expected).Should().OnlyContain(pair => Reference.SameBits(pair.First, pair.Second));
        TorchSharp.DisposeScope fresh = NewDisposeScope();
        fresh.Dispose();
        long before = LiveTensors.Count;
        using (NewDisposeScope())
        {
            Train(adapted, model, ids);
        }

        LiveTensors.Count.Should().Be(before);
    }

    [Fact]
    public void Enable_ModuleWithHooksOfItsOwn_RepeatsThemAndRefusesLaterOnes()
    {
        using var scope = NewDisposeScope();
        manual_seed(26);
        using CheckpointModel model = CheckpointModel.OfBlocks();
        var block = model.Block(1);
        block.register_forward_pre_hook((_, input) => input * 2);
        block.register_forward_hook((_, _, output) => output * 3);
        using AdaptedModel adapted = AdapterInjector.Inject(model, Dora);
        Tensor ids = randint(0, 50, [3, 11], dtype: ScalarType.Int64);
        CheckEqualGradients(adapted, model, ids);

        using GradientCheckpointing checkpointing = GradientCheckpointing.Enable(model, CheckpointModel.Blocks);
        block.register_forward_pre_hook((_, input) => input * 5);
        CheckpointRunsAgain(model, ids);
        block.register_forward_hook((_, _, output) => output * 3);
        model.Invoking(m => m.call(ids)).Should().Throw<InvalidOperationException>().WithMessage("*hook*blocks.1*");
    }

    [Fact]
    public void Enable_ModulesOfOtherSignatures_GivesTheGradientsBitForBit()
    {
        using var scope = NewDisposeScope();
        manual_seed(27);
        var attention = nn.MultiheadAttention(24, 4, dropout: .2);
        using var lstm = nn.LSTM(24, 24);
        using SignatureModel model = new(attention, lstm);
        Tensor x = randn(5, 2, 24, requires_grad: true);
        Tensor[] expected = Gradients();
        using (GradientCheckpointing.Enable(model, ["attention", "lstm", "context"], () => model.call(x)))
        {
            Tensor[] found = Gradients();
            found.Zip(expected).Should().HaveCount(9).And.OnlyContain(pair => Reference.SameBits(pair.First, pair.Second));
        }

        Tensor[] Gradients()
        {
            manual_seed(28);
            Tensor[] leaves = [x, .. model.parameters()];
            Array.ForEach(leaves, leaf => leaf.grad = null);
            model.call(x).square().sum().backward();
            return Array.ConvertAll(leaves, leaf => leaf.grad!.clone());
        }
    }

    [Fact]
    public void Enable_WhatCannotWork_IsRefusedByName()
    {
        using var scope = NewDisposeScope();
        using CheckpointModel model = CheckpointModel.OfBlocks();
        Tensor ids = randint(0, 50, [3, 11], dtype: ScalarType.Int64);
        Enabling(@"layers\.\d+").Should().Throw<ArgumentException>().WithMessage("*layers*blocks.0*");
        Enabling(TargetModules.AllLinear).Should().Throw<ArgumentException>();
        Enabling("blocks").Should().Throw<NotSupportedException>().WithMessage("*blocks*ModuleList*");
        model.Forwards = true;
        Enabling(CheckpointModel.Blocks).Should().Throw<InvalidOperationException>().WithMessage("*blocks.0*forward*Checkpoint.Run*");

        model.Forwards = false;
        int runs = 0;
        model.Block(0).Midway = () => runs++;
        model.call(ids).sum().backward();
        runs.Should().Be(1, "nothing was left behind");

        Func<GradientCheckpointing> Enabling(TargetModules modules) => () => GradientCheckpointing.Enable(model, modules, () => model.call(ids));
    }

    [Fact]
    public void Dispose_BetweenForwardAndBackward_LeavesTheBackwardPassAlone()
    {
        using var scope = NewDisposeScope();
        manual_seed(29);
        using CheckpointModel model = CheckpointModel.OfBlocks(dropout: 0);
        Tensor ids = randint(0, 50, [3, 11], dtype: ScalarType.Int64);
        model.call(ids).sum().backward();
        Tensor[] expected = [.. model.parameters().Select(parameter => parameter.grad!.clone())];
        model.zero_grad();
        GradientCheckpointing checkpointing = GradientCheckpointing.Enable(model, CheckpointModel.Blocks);
        Tensor loss = model.call(ids).sum();
        checkpointing.Dispose();
        loss.backward();

        model.parameters().Zip(expected).Should().OnlyContain(pair => Reference.SameBits(pair.First.grad!, pair.Second));
    }

    private static void CheckEqualGradients(AdaptedModel adapted, CheckpointModel model, Tensor ids)
    {
        Tensor[] expected = Train(adapted, model, ids);
        using GradientCheckpointing checkpointing = GradientCheckpointing.Enable(model, CheckpointModel.Blocks, () => model.call(ids));
        Tensor[] found = Train(adapted, model, ids);
        found.Zip(expected).Should().OnlyContain(pair => Reference.SameBits(pair.First, pair.Second));
    }

    private static void CheckpointRunsAgain(CheckpointModel model, Tensor ids)
    {
        int runs = 0;
        model.Block(1).Midway = () => runs++;
        model.call(ids).sum().backward();
        runs.Should().Be(2);
    }

    private static Tensor[] Train(AdaptedModel adapted, CheckpointModel model, Tensor ids)
    {
        manual_seed(30);
        Tensor[] parameters = Trained(adapted);
        Array.ForEach(parameters, parameter => parameter.grad = null);
        Tensor y = model.call(ids);
        y.square().sum().backward();
        return [y, .. parameters.Select(parameter => parameter.grad!.clone())];
    }

    private static Tensor[] Trained(AdaptedModel adapted) => [.. adapted.TrainableParameters()];

    private static void Disturb(AdaptedModel adapted)
    {
        foreach ((_, AdapterStack stack) in adapted.Layers)
        {
            Reference.Disturb(stack);
        }
    }
}
