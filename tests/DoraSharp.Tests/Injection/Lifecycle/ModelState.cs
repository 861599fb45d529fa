using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection.Lifecycle;

/// <summary>All that an operation which fails must leave alone.</summary>
internal sealed class ModelState
{
    private readonly AdaptedModel adapted;
    private readonly Func<Tensor> run;
    private readonly Tensor output;
    private readonly (string Name, Tensor Value, bool Trains)[] tensors;
    private readonly (string Name, Type Type, bool Training)[] modules;
    private readonly string[] names;
    private readonly string[] active;
    private readonly (string Path, string[] Names, string[] Active, double[] Scales)[] layers;

    public ModelState(AdaptedModel adapted, Func<Tensor> run)
    {
        (this.adapted, this.run) = (adapted, run);
        output = run();
        tensors = [.. adapted.Model.state_dict().Select(entry => (entry.Key, entry.Value.detach().clone(), entry.Value.requires_grad))];
        modules = Modules();
        names = [.. adapted.AdapterNames];
        active = [.. adapted.ActiveAdapters];
        layers = Layers();
    }

    /// <summary>Runs an operation that must throw, and proves that nothing has changed, native memory included.</summary>
    public void ShouldSurvive<TException>(Action<AdaptedModel> operation, string message)
        where TException : Exception
    {
        long live = LiveTensors.Count;
        adapted.Invoking(operation).Should().Throw<TException>(message).WithMessage(message);
        LiveTensors.Count.Should().Be(live, "a failed operation frees what it made ({0})", message);
        ShouldHold(message);
    }

    public void ShouldHold(string because)
    {
        adapted.AdapterNames.Should().Equal(names, because);
        adapted.ActiveAdapters.Should().Equal(active, because);
        Modules().Should().Equal(modules, because);
        Layers().Should().BeEquivalentTo(layers, options => options.WithStrictOrdering(), because);
        Dictionary<string, Tensor> now = adapted.Model.state_dict();
        now.Keys.Should().Equal(tensors.Select(entry => entry.Name), because);
        foreach ((string name, Tensor value, bool trains) in tensors)
        {
            Reference.SameBits(now[name], value).Should().BeTrue("{0}: {1}", because, name);
            now[name].requires_grad.Should().Be(trains, "{0}: {1}", because, name);
        }

        Reference.SameBits(run(), output).Should().BeTrue(because);
    }

    private (string Name, Type Type, bool Training)[] Modules() => [.. adapted.Model.named_modules().Select(m => (m.name, m.module.GetType(), m.module.training))];

    private (string Path, string[] Names, string[] Active, double[] Scales)[] Layers() =>
        [.. adapted.Layers.Select(layer => (layer.Key, layer.Value.Names.ToArray(), layer.Value.Active.ToArray(), layer.Value.Names.Select(name => layer.Value[name]).OfType<LowRankAdapter>().Select(a => a.Scale).ToArray()))];
}
