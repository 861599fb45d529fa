using System.Diagnostics;

namespace DoraSharp.Benchmarks;

/// <summary>
/// Measures all methods in one scenario, side by side: in each round every method has its turn, so that a machine that slows down
/// slows all of them down, and each round starts with another method.
/// </summary>
/// <param name="settings">How to measure.</param>
/// <param name="peak">What measures peak memory, if it is wanted.</param>
internal sealed class Comparison(RunSettings settings, PeakMemory? peak)
{
    /// <summary>A method's turn in a round: one step, or as many short ones as fit into this time, so that caches are warm for most of them.</summary>
    private const double TurnMilliseconds = 10;

    private const int MinRounds = 3;

    /// <summary>About how many of the floor's steps a scenario takes at least, all methods and checks together.</summary>
    private const int StepsOfLeastRun = 80;

    /// <summary>A scenario whose least run takes more than so many times its share is left out of a full run.</summary>
    private const int Overdraft = 6;

    private readonly Func<double> clock = settings.Clock;
    private readonly int maxRounds = settings.IsShort ? 40 : 100;

    /// <summary>Checks that the methods agree, then measures them.</summary>
    /// <returns>The results; <see langword="null"/> for a scenario of a full run that would take much longer than <paramref name="budget"/>.</returns>
    /// <exception cref="InvalidOperationException">A method computes something else than this library's layer.</exception>
    public ScenarioResult? Run(Scenario scenario, TimeSpan budget)
    {
        long start = Stopwatch.GetTimestamp();
        using Problem problem = new(scenario, settings.Device);
        if (!settings.IsShort && LeastRun(problem) > budget * Overdraft)
        {
            return null;
        }

        Dictionary<string, Method> methods = MethodCatalog.All.ToDictionary(definition => definition.Name, definition => definition.Create(problem));
        try
        {
            Agreement.Require(methods, problem);
            Dictionary<string, long?> saved = methods.ToDictionary(pair => pair.Key, pair => SavedActivations.Measure(pair.Value, problem));
            Dictionary<string, double> norms = scenario.HasBackward ? NormAlone.Measure(methods, problem, clock) : [];
            Dictionary<string, long?> peaks = MethodCatalog.All.ToDictionary(definition => definition.Name, definition => peak?.Measure(scenario, definition));
            Dictionary<string, Samples> times = Time(methods, problem, () => Stopwatch.GetElapsedTime(start) < budget);
            return new(scenario, [.. MethodCatalog.All.Select(Result)]);

            MethodResult Result(MethodDefinition definition) => new(
                definition,
                times[definition.Name],
                norms.TryGetValue(definition.Name, out double norm) ? norm : null,
                saved[definition.Name],
                peaks[definition.Name]);
        }
        finally
        {
            foreach (Method method in methods.Values)
            {
                method.Dispose();
            }
        }
    }

    private TimeSpan LeastRun(Problem problem)
    {
        using Method floor = MethodCatalog.Named(MethodCatalog.Floor).Create(problem);
        floor.Train(problem.Scenario.HasBackward);
        return TimeSpan.FromMilliseconds(new Step(floor, problem, clock).Run() * problem.Scenario.MicroSteps * StepsOfLeastRun);
    }

    private Dictionary<string, Samples> Time(Dictionary<string, Method> methods, Problem problem, Func<bool> hasTime)
    {
        Step[] steps = [.. methods.Values.Select(method => new Step(method, problem, clock))];
        Samples[] samples = [.. steps.Select(_ => new Samples())];
        for (int round = 0; round < MinRounds || (round < maxRounds && hasTime()); round++)
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
}
