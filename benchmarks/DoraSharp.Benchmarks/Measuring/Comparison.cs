using System.Diagnostics;

namespace DoraSharp.Benchmarks;

/// <summary>
/// Measures all methods in one scenario, side by side: in each round every method has its turn, so that a machine that slows down
/// slows all of them down, and each round starts with another method.
/// </summary>
internal sealed class Comparison(MeasuringOptions options)
{
    /// <summary>A method's turn in a round: one step, or as many short ones as fit into this time, so that caches are warm for most of them.</summary>
    private const double TurnMilliseconds = 10;

    /// <summary>Checks that the methods agree, then measures them.</summary>
    /// <exception cref="InvalidOperationException">A method computes something else than this library's layer.</exception>
    public ScenarioResult Run(Scenario scenario, TimeSpan budget)
    {
        long start = Stopwatch.GetTimestamp();
        using Problem problem = new(scenario);
        Dictionary<string, Method> methods = MethodCatalog.All.ToDictionary(definition => definition.Name, definition => definition.Create(problem));
        try
        {
            Agreement.Require(methods, problem);
            Dictionary<string, long?> saved = methods.ToDictionary(pair => pair.Key, pair => SavedActivations.Measure(pair.Value, problem));
            Dictionary<string, double> norms = scenario.HasBackward ? NormAlone.Measure(methods, problem, options.Clock) : [];
            Dictionary<string, Samples> times = Time(methods, problem, () => Stopwatch.GetElapsedTime(start) < budget);
            return new(scenario, [.. MethodCatalog.All.Select(Result)]);

            MethodResult Result(MethodDefinition definition) => new(
                definition,
                times[definition.Name],
                norms.TryGetValue(definition.Name, out double norm) ? norm : null,
                saved[definition.Name],
                Peak(scenario, definition));
        }
        finally
        {
            foreach (Method method in methods.Values)
            {
                method.Dispose();
            }
        }
    }

    private Dictionary<string, Samples> Time(Dictionary<string, Method> methods, Problem problem, Func<bool> hasTime)
    {
        Step[] steps = [.. methods.Values.Select(method => new Step(method, problem, options.Clock))];
        Samples[] samples = [.. steps.Select(_ => new Samples())];
        for (int round = 0; round < options.MinRounds || (round < options.MaxRounds && hasTime()); round++)
        {
            for (int turn = 0; turn < steps.Length; turn++)
            {
                int index = (round + turn) % steps.Length;
                long start = Stopwatch.GetTimestamp();
                do
                {
                    samples[index].Add(steps[index].Run());
                }
                while (Stopwatch.GetElapsedTime(start).TotalMilliseconds < TurnMilliseconds);
            }
        }

        return methods.Keys.Zip(samples).ToDictionary();
    }

    private long? Peak(Scenario scenario, MethodDefinition definition) =>
        options.MeasuresPeak ? PeakMemory.MeasureInChild(scenario, definition.Name, options.Threads) : null;
}
