using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection.Lifecycle;

/// <summary>An adapter of its own for each sample of a batch.</summary>
public class SampleTests
{
    private static readonly string[] Mixed = ["lora", "__base__", "dora", "lora"];

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ForSamples_EmbeddingConvolutionAndLinear_GivesEachSampleItsOwn(bool training)
    {
        using var scope = NewDisposeScope();
        using Subject subject = new();
        subject.Model.train(training);
        subject.Adapted.Activate("lora", "dora", "vera");
        Dictionary<string, Tensor> alone = subject.Alone();
        string[] names = ["vera", .. Mixed];
        Tensor x = cat([subject.Input[..1], subject.Input], dim: 0);

        using (subject.Adapted.ForSamples(names))
        {
            Tensor y = subject.Model.call(x);
            for (int i = 0; i < names.Length; i++)
            {
                Reference.RelativeError(y[i], alone[names[i]][Math.Max(i - 1, 0)]).Should().BeLessThan(1e-12, "sample {0} is for {1}", i, names[i]);
            }

            subject.Adapted.Invoking(a => subject.Model.call(x[..2])).Should().Throw<InvalidOperationException>().WithMessage("*5 samples*");
            subject.Adapted.Invoking(a => a.Merge()).Should().Throw<InvalidOperationException>().WithMessage("*samples*");
            subject.Adapted.Invoking(a => a.Delete("dora")).Should().Throw<InvalidOperationException>().WithMessage("*samples*");
            subject.Adapted.Invoking(a => a.Rename("dora", "d")).Should().Throw<InvalidOperationException>().WithMessage("*samples*");
            using (subject.Adapted.Disable())
            {
                Reference.RelativeError(subject.Model.call(x)[1..], alone["__base__"]).Should().BeLessThan(1e-12);
            }

            Reference.SameBits(subject.Model.call(x), y).Should().BeTrue();
        }

        subject.Adapted.Activate("dora");
        Reference.SameBits(subject.Model.call(subject.Input), alone["dora"]).Should().BeTrue();
    }

    [Fact]
    public void ForSamples_Training_TeachesEachAdapterByItsOwnSamplesOnly()
    {
        using var scope = NewDisposeScope();
        using Subject subject = new();
        Dictionary<string, Tensor[]> expected = [];
        foreach (string name in (string[])["lora", "dora"])
        {
            long[] own = [.. Mixed.Select((n, i) => (n, i)).Where(pair => pair.n == name).Select(pair => (long)pair.i)];
            subject.Adapted.Activate(name);
            subject.Model.call(subject.Input.index_select(0, tensor(own))).square().sum().backward();
            expected[name] = subject.Gradients(name);
        }

        subject.Adapted.Activate("lora", "dora", "vera");
        using (subject.Adapted.ForSamples(Mixed))
        {
            subject.Model.call(subject.Input).square().sum().backward();
        }

        foreach ((string name, Tensor[] gradients) in expected)
        {
            foreach ((Tensor actual, Tensor alone) in subject.Gradients(name).Zip(gradients))
            {
                Reference.RelativeError(actual, alone).Should().BeLessThan(1e-11, name);
            }
        }

        subject.Parameters("vera").Select(p => p.grad).Should().OnlyContain(grad => ReferenceEquals(grad, null), "no sample is for it");
    }

    [Fact]
    public void ForSamples_Nested_FallsBackToTheOuterScope()
    {
        using var scope = NewDisposeScope();
        using Subject subject = new();
        Dictionary<string, Tensor> alone = subject.Alone();
        using (subject.Adapted.ForSamples("dora", "dora", "dora", "dora"))
        {
            using (subject.Adapted.ForSamples("__base__", "__base__", "__base__", "__base__"))
            {
                Reference.SameBits(subject.Model.call(subject.Input), alone["__base__"]).Should().BeTrue();
            }

            Reference.RelativeError(subject.Model.call(subject.Input), alone["dora"]).Should().BeLessThan(1e-12);
        }

        Reference.SameBits(subject.Model.call(subject.Input), alone["lora"]).Should().BeTrue();
    }

    [Fact]
    public void ForSamples_ActiveAdapterWithBiasOrSubstitutedLayer_DoesNotReachOtherSamples()
    {
        using var scope = NewDisposeScope();
        using SealedModel model = SealedModel.Make();
        Tensor x = SealedModel.Input();
        Tensor bare = model.call(x);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["open"] }, new() { AdapterName = "a", Probe = () => model.call(x) });
        adapted.Add("b", new() { TargetModules = ["called", "forwarded"], Bias = BiasTraining.All });
        Training.Disturb(adapted, "a");
        Tensor onlyA = model.call(x);
        adapted.Activate("b");
        Training.Disturb(adapted, "b");
        Tensor onlyB = model.call(x);

        using (adapted.ForSamples("a", "a", "__base__", "a", "__base__"))
        {
            Tensor y = model.call(x);
            foreach (int i in (int[])[0, 1, 3])
            {
                Reference.RelativeError(y[i], onlyA[i]).Should().BeLessThan(1e-12);
            }

            Reference.RelativeError(y[2], bare[2]).Should().BeLessThan(1e-12);
        }

        Reference.SameBits(model.call(x), onlyB).Should().BeTrue();
        adapted.Invoking(a => a.ForSamples("b", "b")).Should().Throw<InvalidOperationException>().WithMessage("*'b' trains*bias*");
    }

    private sealed class Subject : IDisposable
    {
        private readonly LoraOptions linears = new() { Rank = 3, TargetModules = ["up", "down"] };

        public Subject()
        {
            Adapted = AdapterInjector.Inject(Model, linears, new() { AdapterName = "lora" });
            Adapted.Add("dora", new() { Rank = 2, UseDora = true, TargetModules = ["embed", "conv", "down"] });
            Adapted.AddVera("vera", new() { Rank = 6, UseDora = true, TargetModules = ["up", "conv"] });
            foreach (string name in Adapted.AdapterNames)
            {
                Training.Disturb(Adapted, name);
            }
        }

        public MixedModel Model { get; } = MixedModel.Make();

        public Tensor Input { get; } = MixedModel.Input();

        public AdaptedModel Adapted { get; }

        /// <summary>The whole batch's output by each adapter alone, and by the base.</summary>
        public Dictionary<string, Tensor> Alone()
        {
            Dictionary<string, Tensor> outputs = [];
            string[] before = [.. Adapted.ActiveAdapters];
            foreach (string name in Adapted.AdapterNames)
            {
                Adapted.Activate(name);
                outputs[name] = Model.call(Input);
            }

            Adapted.Activate();
            outputs["__base__"] = Model.call(Input);
            Adapted.Activate(before);
            return outputs;
        }

        public IEnumerable<Parameter> Parameters(string name) =>
            Adapted.Layers.Where(layer => layer.Value.Names.Contains(name)).SelectMany(layer => layer.Value[name].parameters());

        /// <summary>The gradients of an adapter, which are taken away.</summary>
        public Tensor[] Gradients(string name)
        {
            Tensor[] gradients = [.. Parameters(name).Select(p => p.grad!.clone())];
            Parameters(name).ToList().ForEach(p => p.grad = null);
            return gradients;
        }

        public void Dispose()
        {
            Adapted.Dispose();
            Model.Dispose();
        }
    }
}
