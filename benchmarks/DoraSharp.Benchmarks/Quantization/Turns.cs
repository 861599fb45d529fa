using System.Diagnostics;

namespace DoraSharp.Benchmarks;

/// <summary>Times several actions in turns, each round beginning with another one: what slows the machine down slows all of them down.</summary>
internal static class Turns
{
    private const int LeastRounds = 5;
    private const int MostRounds = 200;

    /// <summary>A turn is one run, or as many short ones as fit into this time.</summary>
    private const double TurnMilliseconds = 10;

    /// <summary>The times of each action, in milliseconds.</summary>
    /// <param name="settings">The clock, and the time for all of them together.</param>
    /// <param name="actions">What to time.</param>
    public static Samples[] Time(RunSettings settings, params Action[] actions)
    {
        Func<double> clock = settings.Clock;
        TimeSpan budget = TimeSpan.FromSeconds(settings.IsShort ? Math.Min(settings.Seconds, 6) : settings.Seconds);
        Samples[] samples = [.. actions.Select(_ => new Samples())];
        Array.ForEach(actions, static action => action());
        long start = Stopwatch.GetTimestamp();
        for (int round = 0; round < LeastRounds || (round < MostRounds && Stopwatch.GetElapsedTime(start) < budget); round++)
        {
            for (int turn = 0; turn < actions.Length; turn++)
            {
                int index = (round + turn) % actions.Length;
                long begin = Stopwatch.GetTimestamp();
                do
                {
                    double before = clock();
                    actions[index]();
                    samples[index].Add(clock() - before);
                }
                while (Stopwatch.GetElapsedTime(begin).TotalMilliseconds < TurnMilliseconds);
            }
        }

        return samples;
    }
}
