using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>One way to compute an adapted layer, on parameters of its own with the values of a <see cref="Problem"/>.</summary>
internal abstract class Method : IDisposable
{
    /// <summary>The parameters that an optimizer would change between steps, in the order A, B, m; none for a frozen layer.</summary>
    public abstract IReadOnlyList<Parameter> Trained { get; }

    /// <summary>Whether dropout acts.</summary>
    public abstract void Train(bool training);

    /// <summary>y [tokens, out] for x [tokens, in].</summary>
    public abstract Tensor Forward(Tensor x);

    /// <summary>Does to the parameters what an optimizer step does as far as caches can tell: new bits in place, no gradients left.</summary>
    public void FinishOptimizerStep()
    {
        using var noGrad = no_grad();
        foreach (Parameter parameter in Trained)
        {
            parameter.grad = null;
            parameter.mul_(1);
        }
    }

    public abstract void Dispose();
}
