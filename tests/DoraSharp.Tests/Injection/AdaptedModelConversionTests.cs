using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection;

public class AdaptedModelConversionTests
{
    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.Float64)]
    public void ConvertToDora_AnyLayer_LeavesTheOutputBitForBit(ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        manual_seed(91);
        using MixedModel model = new(dtype);
        using MixedModel other = new(dtype);
        other.load_state_dict(model.state_dict());
        Tensor ids = MixedModel.Ids();
        using AdaptedModel adapted = Trained(model, dora: false, [.. MixedModel.Plain, "grouped"]);
        Tensor before = model.call(ids);
        Parameter[] factors = [.. adapted.TrainableParameters()];

        adapted.ConvertToDora("default");

        Reference.SameBits(model.call(ids), before).Should().BeTrue();
        adapted.Options.UseDora.Should().BeTrue();
        adapted.Report.Sites.Should().OnlyContain(site => site.Options.UseDora);
        adapted.TrainableParameters().Should().HaveCount(15).And.Contain(factors);
        adapted.Layers.Should().OnlyContain(layer => layer.Value["default"].Options.UseDora && ((LoraAdapter)layer.Value["default"]).Magnitude!.requires_grad);
        adapted.Save(folder.Path);
        using AdaptedModel loaded = AdaptedModel.Load(other, folder.Path);
        Reference.SameBits(other.call(ids), model.call(ids)).Should().BeTrue();
        adapted.Invoking(a => a.ConvertToDora("default")).Should().Throw<InvalidOperationException>().WithMessage("*DoRA*already*");
    }

    [Fact]
    public void ConvertToDora_InTheMiddleOfTraining_TrainsOnAsTheDefinitionDoes()
    {
        using var scope = NewDisposeScope();
        manual_seed(92);
        using OpenFields model = new();
        Tensor x = randn(13, 24, dtype: ScalarType.Float64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 3, Alpha = 6, TargetModules = ["up"] });
        LoraAdapter adapter = (LoraAdapter)adapted.Layers[0].Value["default"];
        Tensor w = adapted.Layers[0].Value.Weight.Dense().detach().clone();
        Tensor bias = adapted.Layers[0].Value.Weight.Bias!.detach();
        Linear down = (Linear)model.named_children().Single(child => child.name == "down").module;
        Parameter a = new(adapter.A.detach().clone());
        Parameter b = new(adapter.B.detach().clone());
        Parameter? m = null;
        using var optimizer = optim.AdamW(adapted.TrainableParameters(), lr: 0.02);
        using var reference = optim.AdamW([a, b], lr: 0.02);
        for (int step = 0; step < 8; step++)
        {
            if (step == 4)
            {
                adapted.ConvertToDora("default");
                optimizer.add_param_group(new AdamW.ParamGroup([adapter.Magnitude!], lr: 0.02));
                m = new Parameter(linalg.vector_norm(w + (2 * b.matmul(a)), ord: 2, dims: [1]).detach().clone());
                reference.add_param_group(new AdamW.ParamGroup([m], lr: 0.02));
            }

            optimizer.zero_grad();
            model.call(x).square().mean().backward();
            optimizer.step();

            reference.zero_grad();
            Tensor v = Reference.EffectiveWeight(w, new ReferenceAdapter(a, b, m, 2));
            (x + down.call((x.matmul(v.t()) + bias).tanh())).square().mean().backward();
            reference.step();
        }

        Reference.RelativeError(adapter.A, a).Should().BeLessThan(1e-10);
        Reference.RelativeError(adapter.B, b).Should().BeLessThan(1e-10);
        Reference.RelativeError(adapter.Magnitude!, m!).Should().BeLessThan(1e-10);
        Reference.RelativeError(adapter.B, zeros_like(adapter.B)).Should().BeGreaterThan(0.01, "it did train");
    }

    [Fact]
    public void ConvertToDora_Vera_BecomesDvoraWithoutAJump()
    {
        using var scope = NewDisposeScope();
        manual_seed(93);
        using MixedModel model = new();
        using AdaptedModel adapted = AdapterInjector.InjectVera(model, new() { Rank = 5, TargetModules = ["linear", "transposed"] });
        using (no_grad())
        {
            foreach (VeraAdapter adapter in adapted.Layers.Select(layer => (VeraAdapter)layer.Value["default"]))
            {
                adapter.LambdaB.normal_();
            }
        }

        Tensor before = model.call(MixedModel.Ids());
        adapted.ConvertToDora("default");
        Reference.SameBits(model.call(MixedModel.Ids()), before).Should().BeTrue();

        adapted.Rename("default", "dvora");
        ConversionReport report = adapted.ConvertToLora("dvora");
        Reference.RelativeError(model.call(MixedModel.Ids()), before).Should().BeLessThan(1e-6);
        report.Layers.Select(layer => layer.Rank).Should().OnlyContain(rank => rank == 5, "that is the rank of the update where no magnitude has moved");
        model.state_dict().Keys.Should().NotContain(key => key.Contains("vera"));
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.Float64)]
    public void ConvertToLora_Dora_LeavesTheOutputByDefault(ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        manual_seed(94);
        using MixedModel model = new(dtype);
        using MixedModel other = new(dtype);
        other.load_state_dict(model.state_dict());
        Tensor ids = MixedModel.Ids();
        using AdaptedModel adapted = Trained(model, dora: true, MixedModel.Plain);
        Tensor before = model.call(ids);

        ConversionReport report = adapted.ConvertToLora("default");

        Reference.RelativeError(model.call(ids), before).Should().BeLessThan(2e-6);
        report.LargestError.Should().BeLessThanOrEqualTo(1e-6);
        report.Layers.Select(layer => layer.Path).Should().Equal(adapted.Layers.Select(layer => layer.Key));
        report.Layers.Single(layer => layer.Path == "linear").Rank.Should().BeGreaterThan(15, "rescaled rows have full rank");
        LoraOptions options = (LoraOptions)adapted.Options;
        (options.UseDora, options.Scaling, options.Rank).Should().Be((false, 1.0, report.Layers.Max(layer => layer.Rank)));
        adapted.Layers.Select(layer => ((LoraAdapter)layer.Value["default"]).A.shape[0]).Should().Equal(report.Layers.Select(layer => (long)layer.Rank));
        adapted.TrainableParameters().Should().HaveCount(8).And.OnlyContain(parameter => parameter.requires_grad);

        adapted.Save(folder.Path);
        using AdaptedModel loaded = AdaptedModel.Load(other, folder.Path);
        Reference.SameBits(other.call(ids), model.call(ids)).Should().BeTrue();
    }

    [Fact]
    public void ConvertToLora_RankOrEnergy_GivesTheBestFactorsAndTheirError()
    {
        using var scope = NewDisposeScope();
        manual_seed(95);
        using MixedModel model = new();
        using AdaptedModel adapted = Trained(model, dora: true, MixedModel.Plain);
        Dictionary<string, (Tensor W, Tensor Change)> expected = adapted.Layers.ToDictionary(layer => layer.Key, layer =>
        {
            Tensor w = layer.Value.Weight.Dense().detach().clone();
            return (w, (Reference.EffectiveWeight(w, Reference.Copy(layer.Value["default"])) - w).detach());
        });

        ConversionReport report = adapted.ConvertToLora("default", RankChoice.Fixed(4));

        foreach ((ConvertedLayer layer, AdapterStack stack) in report.Layers.Zip(adapted.Layers.Select(layer => layer.Value)))
        {
            (Tensor w, Tensor change) = expected[layer.Path];
            LoraAdapter adapter = (LoraAdapter)stack["default"];
            double error = (change - adapter.B.matmul(adapter.A)).norm().item<double>();
            double best = linalg.svdvals(change)[TensorIndex.Slice(4)].norm().item<double>();
            layer.Rank.Should().Be(4);
            error.Should().BeApproximately(best, 1e-10 * w.norm().item<double>());
            layer.RelativeError.Should().BeApproximately(error / w.norm().item<double>(), 1e-10);
            layer.RelativeErrorOfChange.Should().BeApproximately(error / change.norm().item<double>(), 1e-10);
        }

        ((LoraOptions)adapted.Options).RankPattern.Should().BeEmpty();
        adapted.ConvertToLora("default", RankChoice.ForEnergy(0.9)).Layers.Should().OnlyContain(layer => layer.Rank <= 4 && layer.RelativeErrorOfChange <= Math.Sqrt(0.1));
    }

    [Fact]
    public void ConvertToLora_PissaWithMagnitudes_GivesTheOriginalBaseBack()
    {
        using var scope = NewDisposeScope();
        manual_seed(96);
        using OpenFields model = new();
        using OpenFields other = new();
        other.load_state_dict(model.state_dict());
        Tensor x = randn(5, 24, dtype: ScalarType.Float64);
        using TemporaryFolder folder = new();
        using AdaptedModel adapted = Trained(model, dora: true, ["up", "down"], LoraInitialization.Pissa);
        Tensor before = model.call(x);

        adapted.ConvertToLora("default", RankChoice.ForError(0));

        Reference.RelativeError(model.call(x), before).Should().BeLessThan(1e-12);
        foreach ((string path, AdapterStack stack) in adapted.Layers)
        {
            Reference.SameBits(stack.Weight.Stored, other.get_parameter($"{path}.weight")!).Should().BeTrue();
        }

        adapted.Save(folder.Path);
        using AdaptedModel loaded = AdaptedModel.Load(other, folder.Path);
        Reference.SameBits(other.call(x), model.call(x)).Should().BeTrue();
    }

    [Fact]
    public void ConvertToLora_LoraWithABias_KeepsIt()
    {
        using var scope = NewDisposeScope();
        manual_seed(97);
        using OpenFields model = new();
        Tensor x = randn(5, 24, dtype: ScalarType.Float64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 3, Alpha = 7, LoraBias = true });
        adapted.Layers.ToList().ForEach(layer => Reference.Disturb(layer.Value));
        using (no_grad())
        {
            adapted.Layers.ToList().ForEach(layer => ((LoraAdapter)layer.Value["default"]).BiasOfB!.normal_());
        }

        Tensor before = model.call(x);
        adapted.ConvertToLora("default").Layers.Should().OnlyContain(layer => layer.Rank == 3);
        Reference.RelativeError(model.call(x), before).Should().BeLessThan(1e-13);
    }

    [Fact]
    public void Convert_WhatCannotBe_IsRefusedAndChangesNothing()
    {
        using var scope = NewDisposeScope();
        manual_seed(98);
        using MixedModel model = new();
        using AdaptedModel adapted = Trained(model, dora: true, [.. MixedModel.Plain, "grouped"]);
        adapted.Add("biased", new() { LoraBias = true, TargetModules = ["linear"] });
        adapted.Add("broken", new() { TargetModules = ["linear", "convolution"] });
        using (no_grad())
        {
            ((LoraAdapter)adapted.Layers.Single(layer => layer.Key == "convolution").Value["broken"]).B[0, 0] = double.PositiveInfinity;
        }

        Dictionary<string, Tensor> before = model.state_dict().ToDictionary(entry => entry.Key, entry => entry.Value.clone());

        Refused<NotSupportedException>(() => adapted.ConvertToLora("default"), "*'default' at grouped*group*Nothing was changed*");
        Refused<ArgumentException>(() => adapted.ConvertToLora("broken"), "*infinite*");
        Refused<ArgumentException>(() => adapted.ConvertToDora("biased"), "*LoraBias*");
        Refused<KeyNotFoundException>(() => adapted.ConvertToDora("other"), "*other*");
        adapted.Activate("biased");
        adapted.Merge();
        adapted.Invoking(a => a.ConvertToLora("default")).Should().Throw<InvalidOperationException>().WithMessage("*Unmerge*");
        adapted.Invoking(a => a.ConvertToDora("biased")).Should().Throw<InvalidOperationException>().WithMessage("*Unmerge*");

        void Refused<T>(Action convert, string message)
            where T : Exception
        {
            convert.Should().Throw<T>().WithMessage(message);
            Dictionary<string, Tensor> after = model.state_dict();
            after.Keys.Should().Equal(before.Keys);
            after.Should().OnlyContain(entry => Reference.SameBits(entry.Value, before[entry.Key]));
            adapted.OptionsOf("biased").UseDora.Should().BeFalse();
        }
    }

    [Fact]
    public void ConvertToLora_OthersUseTheChangedBase_IsRefused()
    {
        using var scope = NewDisposeScope();
        using OpenFields model = new();
        using AdaptedModel adapted = Trained(model, dora: false, ["up"], LoraInitialization.Olora);
        adapted.Add("second", new() { TargetModules = ["up"] });

        adapted.Invoking(a => a.ConvertToLora("default")).Should().Throw<InvalidOperationException>().WithMessage("*up*second*");
    }

    [Fact]
    public void Convert_BackAndForth_LeavesNoTensorBehind()
    {
        using MixedModel model = new();
        using AdaptedModel adapted = Trained(model, dora: false, MixedModel.Plain);
        adapted.Add("second", new() { Rank = 2, TargetModules = ["linear"] });
        Round();
        long before = LiveTensors.Count;
        for (int i = 0; i < 3; i++)
        {
            Round();
        }

        LiveTensors.Count.Should().Be(before);

        void Round()
        {
            adapted.ConvertToDora("default");
            adapted.ConvertToLora("default", RankChoice.Fixed(4));
        }
    }

    private static AdaptedModel Trained(nn.Module model, bool dora, TargetModules targets, LoraInitialization? initialization = null)
    {
        AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 4, Alpha = 6, UseDora = dora, TargetModules = targets, Initialization = initialization ?? LoraInitialization.Kaiming });
        int seed = 17;
        foreach ((_, AdapterStack stack) in adapted.Layers)
        {
            Reference.Disturb(stack, seed++);
            using var noGrad = no_grad();
            ((LoraAdapter)stack["default"]).A.normal_(0, 0.3);
        }

        return adapted;
    }
}
