using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>
/// Before anything is timed, every method that computes DoRA must agree with this library's layer on the same parameters: in
/// the output and, in training, in the gradients. A comparison of different functions would mean nothing.
/// </summary>
internal static class Agreement
{
    private static readonly string[] Quantities = ["y", "dx", "dA", "dB", "dm"];

    /// <summary>Runs every method once.</summary>
    /// <exception cref="InvalidOperationException">A method computes something else.</exception>
    public static void Require(IReadOnlyDictionary<string, Method> methods, Problem problem)
    {
        using var scope = NewDisposeScope();
        IReadOnlyList<Tensor> expected = Results(methods[MethodCatalog.Dora], problem);
        double tolerance = problem.Scenario.DType == ScalarType.Float32 ? 1e-4 : 3e-2;
        foreach ((string name, Method method) in methods)
        {
            IReadOnlyList<Tensor> actual = Results(method, problem);
            if (name is MethodCatalog.Floor or MethodCatalog.Lora)
            {
                continue;
            }

            foreach ((string quantity, Tensor e, Tensor a) in Quantities.Zip(expected, actual))
            {
                double error = RelativeError(a, e);
                if (!(error <= tolerance))
                {
                    throw new InvalidOperationException($"{name} does not agree with {MethodCatalog.Dora} in {quantity} ({problem.Scenario}): relative error {error:g2}, allowed {tolerance:g2}.");
                }
            }
        }
    }

    /// <summary>y and, in training, the gradients of x and of the parameters.</summary>
    private static List<Tensor> Results(Method method, Problem problem)
    {
        // Two methods need not draw the same mask, so what is compared is compared without dropout.
        method.Train(problem.Scenario is { HasBackward: true, Dropout: 0 });
        using var gradients = set_grad_enabled(problem.Scenario.HasBackward);
        Tensor y = method.Forward(problem.Input);
        List<Tensor> results = [y.detach()];
        if (problem.Scenario.HasBackward)
        {
            y.backward([problem.OutputGradient]);
            results.Add(TakeGradient(problem.Input));
            results.AddRange(method.Trained.Select(TakeGradient));
        }

        method.Train(problem.Scenario.HasBackward);
        return results;
    }

    private static Tensor TakeGradient(Tensor tensor)
    {
        Tensor gradient = tensor.grad ?? throw new InvalidOperationException("A backward pass left a parameter without a gradient.");
        tensor.grad = null;
        return gradient;
    }

    /// <summary>‖actual − expected‖ / ‖expected‖.</summary>
    private static double RelativeError(Tensor actual, Tensor expected)
    {
        using var scope = NewDisposeScope();
        Tensor reference = expected.to(ScalarType.Float64);
        return (actual.to(ScalarType.Float64) - reference).norm().item<double>() / reference.norm().item<double>();
    }
}
