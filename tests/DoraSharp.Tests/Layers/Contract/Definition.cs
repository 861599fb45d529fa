using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Contract;

/// <summary>What a layer and its active adapters compute by definition: dense, naive, in float64, with autograd.</summary>
internal sealed class Definition
{
    private readonly LayerCase layer;
    private readonly Tensor weight;
    private readonly Tensor? bias;
    private readonly List<Step> steps = [];

    /// <summary>Copies the present values of some adapters, in the order in which they act.</summary>
    public Definition(AdaptedCase subject, params IReadOnlyList<string> names)
    {
        layer = subject.Case;
        weight = layer.MatrixOf(subject.Layer);
        Input = layer.TakesIds ? subject.Input : Leaf(subject.Input);
        bias = subject.Bias is { } live ? Track(live) : null;
        steps.AddRange(names.Select(name => StepOf((LowRankAdapter)subject.Stack[name])));
    }

    /// <summary>The input; it gathers a gradient unless it holds ids.</summary>
    public Tensor Input { get; }

    /// <summary>The trained parameters and their copies here, which gather gradients of their own.</summary>
    public List<(Parameter Live, Tensor Copy)> Trained { get; } = [];

    /// <summary>The effective weight [out, in].</summary>
    public Tensor EffectiveWeight() => steps.Aggregate(weight, (v, step) => step.Gain(weight) * (v + step.Update));

    /// <summary>The output.</summary>
    public Tensor Output() => WithBias(layer.Product(Input, EffectiveWeight()));

    /// <summary>The output of the one adapter in training, its dropout on its own path.</summary>
    public Tensor DroppedOutput(Func<Tensor, Tensor> mask, double p)
    {
        Step step = steps.Single();
        Tensor gain = step.Gain(weight);
        return WithBias(layer.Product(Input, gain * weight) + layer.DroppedProduct(Input, gain * step.Update, mask, p));
    }

    private Tensor WithBias(Tensor y)
    {
        Tensor? sum = steps.Aggregate(bias, static (all, step) => step.Bias is null ? all : all is null ? step.Bias : all + step.Bias);
        return sum is null ? y : y + layer.PerOutput(sum);
    }

    private Step StepOf(LowRankAdapter adapter)
    {
        (Tensor a, Tensor b, Tensor? ownBias) = adapter switch
        {
            LoraAdapter lora => (Track(lora.A), layer.MatrixOfB(Track(lora.B)), lora.BiasOfB is { } own ? Track(own) * lora.Scaling : null),
            VeraAdapter vera => OfVera(vera),
            _ => throw new NotSupportedException(),
        };
        return new(adapter.Scaling * b.matmul(a), adapter.Magnitude is { } m ? Track(m) : null, ownBias);
    }

    private (Tensor A, Tensor B, Tensor? Bias) OfVera(VeraAdapter vera)
    {
        Tensor a = vera.Sources[2].to(ScalarType.Float64).narrow(1, 0, weight.shape[1]);
        Tensor b = vera.Sources[3].to(ScalarType.Float64).narrow(0, 0, weight.shape[0]);
        return (Track(vera.LambdaD).unsqueeze(1) * a, Track(vera.LambdaB).unsqueeze(1) * b, null);
    }

    private Tensor Track(Parameter live)
    {
        Tensor copy = Leaf(live);
        Trained.Add((live, copy));
        return copy;
    }

    private static Tensor Leaf(Tensor tensor) => tensor.detach().to(ScalarType.Float64).clone().requires_grad_(true);

    private sealed record Step(Tensor Update, Tensor? Magnitude, Tensor? Bias)
    {
        /// <summary>m/‖W + Δ‖ per row, the norm a constant; 1 without a magnitude.</summary>
        public Tensor Gain(Tensor frozen) => Magnitude is null
            ? ones(1, 1, dtype: ScalarType.Float64)
            : (Magnitude / linalg.vector_norm(frozen + Update, ord: 2, dims: [1]).detach()).unsqueeze(1);
    }
}
