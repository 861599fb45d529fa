using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection.Lifecycle;

/// <summary>What training does to a model's adapters, and models to compare with.</summary>
internal static class Training
{
    /// <summary>Gives all parameters of one adapter values as training would; saved modules and biases if it is active.</summary>
    public static void Disturb(AdaptedModel adapted, string name, int seed = 3)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Generator generator = new((ulong)seed);
        foreach (Parameter parameter in adapted.Layers.Where(layer => layer.Value.Names.Contains(name)).SelectMany(layer => layer.Value[name].parameters()).Concat(adapted.Swapped.Training()))
        {
            parameter.add_((randn(parameter.shape, dtype: ScalarType.Float64, generator: generator) * 0.2).to(parameter.dtype));
        }
    }

    /// <summary>The output of a fresh model with nothing but the adapter of a folder.</summary>
    public static Tensor Solo(nn.Module<Tensor, Tensor> fresh, string folder, Tensor x, InjectionOptions? injection = null)
    {
        using AdaptedModel adapted = AdaptedModel.Load(fresh, folder, injection);
        fresh.eval();
        return fresh.call(x);
    }

    /// <summary>One step of an optimizer on the mean square of the output.</summary>
    public static void Step(optim.Optimizer optimizer, Func<Tensor> run)
    {
        using var scope = NewDisposeScope();
        optimizer.zero_grad();
        run().square().mean().backward();
        optimizer.step();
    }
}
