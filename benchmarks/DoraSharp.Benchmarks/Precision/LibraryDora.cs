using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>This library's DoRA, through its public API.</summary>
internal static class LibraryDora
{
    public static PrecisionFigures Compute(PrecisionProblem problem)
    {
        using Linear linear = Layer(problem);
        using DoraLinear layer = DoraLinear.From(linear, new() { Rank = problem.Rank, Alpha = PrecisionProblem.Scaling * problem.Rank });
        LoraAdapter adapter = (LoraAdapter)layer.Adapters[layer.Adapters.Names[0]];
        using (no_grad())
        {
            adapter.A.copy_(problem.A);
            adapter.B.copy_(problem.B);
            adapter.Magnitude!.copy_(problem.Magnitude);
        }

        Tensor x = problem.Input.clone().requires_grad_(true);
        Tensor output = layer.call(x);
        output.backward([problem.Gradient]);
        return new(output.detach(), x.grad!, adapter.A.grad!, adapter.B.grad!, adapter.Magnitude!.grad!, Norm(problem), layer.Adapters.EffectiveWeight());
    }

    /// <summary>A LoRA adapter that becomes DoRA starts with its norm as the magnitude.</summary>
    private static Tensor Norm(PrecisionProblem problem)
    {
        using var model = nn.Sequential(Layer(problem));
        using AdaptedModel adapted = AdapterInjector.Inject(model, new LoraOptions { Rank = problem.Rank, Alpha = PrecisionProblem.Scaling * problem.Rank, TargetModules = ["0"] });
        LoraAdapter adapter = (LoraAdapter)adapted.Layers[0].Value[adapted.AdapterName];
        using (no_grad())
        {
            adapter.A.copy_(problem.A);
            adapter.B.copy_(problem.B);
        }

        adapted.ConvertToDora(adapted.AdapterName);
        return ((LoraAdapter)adapted.Layers[0].Value[adapted.AdapterName]).Magnitude!.detach().clone();
    }

    private static Linear Layer(PrecisionProblem problem)
    {
        Linear linear = nn.Linear(problem.Inputs, problem.Outputs, hasBias: false, dtype: problem.DType);
        using var noGrad = no_grad();
        linear.weight.copy_(problem.Weight);
        return linear;
    }
}
