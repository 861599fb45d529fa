using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Caches;

/// <summary>A model with a trained DoRA adapter whose caches are full.</summary>
internal sealed class CacheCase : IDisposable
{
    private readonly Tensor x;
    private readonly Tensor gradient;

    public CacheCase(long inputs, long outputs)
    {
        (x, gradient) = (randn(5, inputs), randn(5, outputs));
        Base = nn.Linear(inputs, outputs);
        Model = nn.Sequential(("layer", Base));
        Adapted = AdapterInjector.Inject(Model, Options);
        Reference.Disturb(Adapted.Layers[0].Value);
    }

    public static LoraOptions Options { get; } = new() { Rank = 4, Alpha = 6, UseDora = true, TargetModules = ["layer"] };

    public Sequential Model { get; }

    public Linear Base { get; }

    public AdaptedModel Adapted { get; }

    /// <summary>The active adapter.</summary>
    public LoraAdapter Adapter => (LoraAdapter)Adapted.Layers[0].Value[Adapted.ActiveAdapters[0]];

    /// <summary>Fills the caches of training and of evaluation.</summary>
    public void Forward()
    {
        using var scope = NewDisposeScope();
        if (!Adapted.IsMerged)
        {
            using var recording = enable_grad();
            Run().backward([gradient.to(Base.weight.dtype)]);
        }

        using (no_grad())
        {
            Run();
        }
    }

    /// <summary>The elements of the output.</summary>
    public float[] Output()
    {
        using var scope = NewDisposeScope();
        return Run().data<float>().ToArray();
    }

    /// <summary>An optimizer's step.</summary>
    public void Step(optim.Optimizer optimizer)
    {
        using (optimizer)
        {
            Forward();
            optimizer.step();
            optimizer.zero_grad();
        }
    }

    /// <summary>Loads a part of the model by TorchSharp's own format, which is written straight into memory.</summary>
    /// <param name="part">The part.</param>
    public void LoadBinary(Func<CacheCase, nn.Module> part)
    {
        using CacheCase other = new(x.shape[1], gradient.shape[1]);
        using MemoryStream stream = new();
        using BinaryWriter writer = new(stream, System.Text.Encoding.UTF8, leaveOpen: true);
        Reference.Disturb(other.Adapted.Layers[0].Value, seed: 8);
        part(other).save(writer);
        stream.Position = 0;
        part(this).load(stream);
    }

    /// <summary>Does something with the folder of another adapter.</summary>
    public void WithSaved(Action<string> load)
    {
        using TemporaryFolder folder = new();
        using CacheCase other = new(x.shape[1], gradient.shape[1]);
        Reference.Disturb(other.Adapted.Layers[0].Value, seed: 9);
        other.Adapted.Save(folder.Path);
        load(folder.Path);
    }

    /// <summary>Compares output and gradients with the definition in float64 of the tensors as they are.</summary>
    public void Check()
    {
        Array.ForEach([.. Adapted.TrainableParameters()], parameter => parameter.grad = null);
        Tensor y = Run();
        y.backward([gradient.to(y.dtype)]);
        LoraAdapter adapter = Adapter;
        ReferenceAdapter exact = Reference.Copy(adapter);
        Tensor weight = Reference.EffectiveWeight(Base.weight.to(ScalarType.Float64), exact);
        Tensor expected = x.to(ScalarType.Float64).matmul(weight.t()) + Base.bias!.to(ScalarType.Float64);
        expected.backward([gradient.to(ScalarType.Float64)]);

        Reference.RelativeError(y, expected).Should().BeLessThan(1e-5);
        foreach ((Parameter trained, Tensor leaf) in new[] { (adapter.A, exact.A), (adapter.B, exact.B), (adapter.Magnitude!, exact.Magnitude!) }.Where(pair => pair.Item1.requires_grad))
        {
            Reference.RelativeError(trained.grad!, leaf.grad!).Should().BeLessThan(1e-5);
        }

        using (no_grad())
        {
            Reference.RelativeError(Run(), expected).Should().BeLessThan(1e-5, "evaluation uses the same caches");
        }
    }

    public void Dispose()
    {
        Adapted.Dispose();
        Model.Dispose();
        x.Dispose();
        gradient.Dispose();
    }

    private Tensor Run() => Model.call(x.to(Base.weight.dtype));
}
