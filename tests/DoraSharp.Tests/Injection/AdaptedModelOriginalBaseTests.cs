using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection;

/// <summary>Adapters whose initialization changes the base weight: saving them, and loading them again.</summary>
public class AdaptedModelOriginalBaseTests
{
    [Theory]
    [InlineData("pissa", false)]
    [InlineData("pissa", true)]
    [InlineData("pissa_niter_3", true)]
    [InlineData("olora", true)]
    [InlineData("corda", true)]
    [InlineData("lora_ga", true)]
    public void SavePlain_TrainedOverAChangedBase_ServesTheOriginalBase(string method, bool dora)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        manual_seed(101);
        using InDictionary model = new();
        using InDictionary original = new();
        original.load_state_dict(model.state_dict());
        Tensor x = randn(5, 24, dtype: ScalarType.Float64);
        Tensor unadapted = model.call(x);
        LoraOptions options = new()
        {
            Rank = 4,
            Alpha = 6,
            UseRsLora = true,
            UseDora = dora,
            RankPattern = [new("down", 3)],
            AlphaPattern = [new("down", 5)],
            Bias = BiasTraining.LoraOnly,
            Initialization = Method(method),
        };
        using InitializationData? data = method switch
        {
            "corda" => DataCollector.ForCorda(model, ["up", "down"], [x], batch => model.call(batch)),
            "lora_ga" => DataCollector.ForLoraGa(model, ["up", "down"], [x], batch => model.call(batch).square().mean()),
            _ => null,
        };
        using AdaptedModel adapted = AdapterInjector.Inject(model, options, new() { InitializationData = data });
        Reference.RelativeError(model.call(x), unadapted).Should().BeLessThan(1e-12);
        Reference.RelativeError(adapted.Layers[0].Value.Weight.Stored, original.get_parameter("up.weight")!).Should().BeGreaterThan(0.01, "the base was changed");
        Disturb(adapted);

        adapted.SavePlain(folder.Path);

        using AdaptedModel loaded = AdaptedModel.Load(original, folder.Path);
        Reference.RelativeError(original.call(x), model.call(x)).Should().BeLessThan(1e-12);
        loaded.Report.Sites.Select(site => ((LoraOptions)site.Options).Rank).Should().Equal(8, 6);
        loaded.Report.Sites.Select(site => ((LoraOptions)site.Options).Scaling).Zip([6 / 2.0, 5 / Math.Sqrt(3)]).Should().OnlyContain(pair => Math.Abs(pair.First - pair.Second) < 1e-12);
        loaded.Options.UseDora.Should().Be(dora);
    }

    [Fact]
    public void SavePlain_BaseChangedElsewhere_TakesTheInitialValuesFromTheirFolder()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder initial = new();
        using TemporaryFolder trained = new();
        using TemporaryFolder plain = new();
        manual_seed(102);
        using OpenFields model = new();
        using OpenFields residual = new();
        using OpenFields original = new();
        original.load_state_dict(model.state_dict());
        Tensor x = randn(5, 24, dtype: ScalarType.Float64);
        Tensor expected;
        using (AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 3, UseDora = true, Initialization = LoraInitialization.PissaFast(2) }))
        {
            foreach ((string path, AdapterStack stack) in adapted.Layers)
            {
                using var noGrad = no_grad();
                residual.get_parameter($"{path}.weight")!.copy_(stack.Weight.Stored);
                residual.get_parameter($"{path}.bias")!.copy_(stack.Weight.Bias!);
            }

            adapted.Save(initial.Path);
            Disturb(adapted);
            adapted.Save(trained.Path);
            expected = model.call(x).detach();
        }

        InjectionOptions adjusted = new() { BaseIsAdjusted = true };
        original.Invoking(m => AdaptedModel.Load(m, trained.Path)).Should().Throw<InvalidDataException>().WithMessage("*pissa_niter_2*BaseIsAdjusted*");
        original.state_dict().Keys.Should().Equal(["up.weight", "up.bias", "down.weight", "down.bias"]);
        using AdaptedModel over = AdaptedModel.Load(residual, trained.Path, adjusted);
        Reference.RelativeError(residual.call(x), expected).Should().BeLessThan(1e-13);
        over.Invoking(a => a.SavePlain(plain.Path)).Should().Throw<InvalidOperationException>().WithMessage("*folder of the initial values*");
        over.SavePlain(plain.Path, initialFolder: initial.Path);

        using AdaptedModel loaded = AdaptedModel.Load(original, plain.Path);
        Reference.RelativeError(original.call(x), expected).Should().BeLessThan(1e-12);
    }

    [Fact]
    public void Load_PissaOntoTheOriginalBase_MakesTheSameBaseAgain()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        manual_seed(103);
        using OpenFields model = new();
        using OpenFields other = new();
        other.load_state_dict(model.state_dict());
        Tensor x = randn(5, 24, dtype: ScalarType.Float64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 3, UseDora = true, Initialization = LoraInitialization.Pissa });
        Disturb(adapted);
        adapted.Save(folder.Path);

        using AdaptedModel loaded = AdaptedModel.Load(other, folder.Path);

        Reference.RelativeError(other.call(x), model.call(x)).Should().BeLessThan(1e-12);
    }

    [Fact]
    public void SavePlain_WhatCannotBe_IsRefusedAndWritesNothing()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using TemporaryFolder other = new();
        using OpenFields plain = new();
        using OpenFields quantized = new();
        using AdaptedModel kaiming = AdapterInjector.Inject(plain, new() { Rank = 4 });
        using AdaptedModel loftq = AdapterInjector.Inject(quantized, new() { Rank = 4, Initialization = LoraInitialization.Loftq });
        string target = Path.Combine(folder.Path, "plain");

        kaiming.Invoking(a => a.SavePlain(target)).Should().Throw<InvalidOperationException>().WithMessage("*Save*");
        loftq.Invoking(a => a.SavePlain(target)).Should().Throw<NotSupportedException>().WithMessage("*LoftQ*");
        kaiming.Invoking(a => a.SavePlain(target, adapterName: "other")).Should().Throw<KeyNotFoundException>();
        using OpenFields wider = new();
        using AdaptedModel different = AdapterInjector.Inject(wider, new() { Rank = 5 });
        different.Save(other.Path);
        kaiming.Invoking(a => a.SavePlain(target, initialFolder: other.Path)).Should().Throw<InvalidDataException>().WithMessage("*rank 5*rank 4*");
        Directory.Exists(target).Should().BeFalse();
    }

    private static LoraInitialization Method(string name) => name switch
    {
        "pissa" => LoraInitialization.Pissa,
        "pissa_niter_3" => LoraInitialization.PissaFast(3),
        "olora" => LoraInitialization.Olora,
        "corda" => LoraInitialization.Corda,
        _ => LoraInitialization.LoraGa,
    };

    // Moves every trained value by a few percent.
    private static void Disturb(AdaptedModel adapted)
    {
        using var noGrad = no_grad();
        foreach (Parameter parameter in adapted.TrainableParameters())
        {
            parameter.mul_(1 + (0.1 * randn_like(parameter)));
        }
    }
}
