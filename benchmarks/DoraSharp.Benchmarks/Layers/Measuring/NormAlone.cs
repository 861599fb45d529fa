using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>
/// What DoRA's norm costs by itself, seen through a layer's public face: a forward pass of one token right after the parameters
/// changed, less the same of LoRA.
/// </summary>
internal static class NormAlone
{
    private const int Rounds = 7;

    /// <summary>Milliseconds by method, for those that have a norm.</summary>
    public static Dictionary<string, double> Measure(IReadOnlyDictionary<string, Method> methods, Problem problem, Func<double> clock)
    {
        using var noGrad = no_grad();
        using Tensor token = problem.Input.narrow(0, 0, 1);
        Dictionary<string, Method> measured = methods.Where(pair => pair.Value.Trained.Count > 0).ToDictionary();
        Dictionary<string, Samples> times = measured.ToDictionary(pair => pair.Key, _ => new Samples());
        for (int round = 0; round < Rounds; round++)
        {
            foreach ((string name, Method method) in measured)
            {
                times[name].Add(ForwardAfterChange(method, token, clock));
            }
        }

        double lora = times[MethodCatalog.Lora].Median;
        return times.Where(pair => pair.Key != MethodCatalog.Lora).ToDictionary(pair => pair.Key, pair => pair.Value.Median - lora);
    }

    private static double ForwardAfterChange(Method method, Tensor token, Func<double> clock)
    {
        method.FinishOptimizerStep();
        double start = clock();
        using (NewDisposeScope())
        {
            method.Forward(token);
        }

        return clock() - start;
    }
}
