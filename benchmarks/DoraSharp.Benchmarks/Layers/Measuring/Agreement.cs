using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>
/// Before anything is timed, every method that computes DoRA must agree with this library's layer on the same parameters, in the
/// output and, in training, in the gradients; with dropout every peer must agree with its own definition. A comparison with
/// something that computes something else would mean nothing.
/// </summary>
internal static class Agreement
{
    private const int DropoutSeed = 11;
    private const double Float32Tolerance = 1e-4;
    private const double BFloat16Tolerance = 3e-2;
    private static readonly string[] Quantities = ["y", "dx", "dA", "dB", "dm"];

    /// <summary>Runs every method once, and each peer once more where there is dropout.</summary>
    /// <exception cref="InvalidOperationException">A method computes something else.</exception>
    public static void Require(IReadOnlyDictionary<string, Method> methods, Problem problem)
    {
        using var scope = NewDisposeScope();
        IReadOnlyList<Tensor> expected = Results(methods[MethodCatalog.Dora], problem);
        foreach ((string name, Method method) in methods)
        {
            IReadOnlyList<Tensor> actual = Results(method, problem);
            if (name is not (MethodCatalog.Floor or MethodCatalog.Lora))
            {
                Compare(name, MethodCatalog.Dora, problem, expected, actual);
            }

            if (method is PeerLayer && problem.Scenario is { HasBackward: true, Dropout: > 0 })
            {
                method.Train(true);
                DropoutReference.Seed(DropoutSeed);
                IReadOnlyList<Tensor> dropped = Run(method, problem);
                Compare(name, "its definition with dropout", problem, DropoutReference.Results(problem, DropoutSeed, name == MethodCatalog.PeftDora), dropped);
            }
        }
    }

    private static void Compare(string name, string reference, Problem problem, IReadOnlyList<Tensor> expected, IReadOnlyList<Tensor> actual)
    {
        double tolerance = problem.Scenario.DType == ScalarType.Float32 ? Float32Tolerance : BFloat16Tolerance;
        foreach ((string quantity, Tensor e, Tensor a) in Quantities.Zip(expected, actual))
        {
            double error = RelativeError(a, e);
            if (!(error <= tolerance))
            {
                throw new InvalidOperationException($"{name} does not agree with {reference} in {quantity} ({problem.Scenario}): relative error {error:g2}, allowed {tolerance:g2}.");
            }
        }
    }

    /// <summary>y and, in training, the gradients of x and of the parameters, without dropout: two methods need not draw the same mask.</summary>
    private static List<Tensor> Results(Method method, Problem problem)
    {
        method.Train(problem.Scenario is { HasBackward: true, Dropout: 0 });
        List<Tensor> results = Run(method, problem);
        method.Train(problem.Scenario.HasBackward);
        return results;
    }

    private static List<Tensor> Run(Method method, Problem problem)
    {
        using var gradients = set_grad_enabled(problem.Scenario.HasBackward);
        Tensor y = method.Forward(problem.Input);
        List<Tensor> results = [y.detach()];
        if (problem.Scenario.HasBackward)
        {
            y.backward([problem.OutputGradient]);
            results.Add(TakeGradient(problem.Input));
            results.AddRange(method.Trained.Select(TakeGradient));
        }

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
