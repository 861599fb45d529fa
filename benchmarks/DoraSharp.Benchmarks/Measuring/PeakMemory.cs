using System.Diagnostics;
using System.Globalization;
using System.Reflection;

namespace DoraSharp.Benchmarks;

/// <summary>The peak resident memory of a process that runs one method only. Less the floor's, it is what the method needs.</summary>
internal static class PeakMemory
{
    /// <summary>The hidden command that the child process is started with.</summary>
    public const string CommandName = "peak";

    private const int Steps = 3;

    /// <summary>Runs a method in a child process and returns its peak resident memory in bytes.</summary>
    /// <exception cref="InvalidOperationException">The child failed.</exception>
    public static long MeasureInChild(Scenario scenario, string method, int threads)
    {
        ProcessStartInfo start = new(Environment.ProcessPath!) { RedirectStandardOutput = true, UseShellExecute = false };
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet")
        {
            start.ArgumentList.Add(Assembly.GetExecutingAssembly().Location);
        }

        string[] arguments =
        [
            CommandName, scenario.Shape.ToString(), Names.Of(scenario.DType), Names.Of(scenario.Mode),
            scenario.Dropout.ToString(CultureInfo.InvariantCulture), method, threads.ToString(CultureInfo.InvariantCulture),
        ];
        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        using Process child = Process.Start(start)!;
        string output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        return child.ExitCode == 0 && long.TryParse(output, CultureInfo.InvariantCulture, out long bytes)
            ? bytes
            : throw new InvalidOperationException($"The process that measures the memory of {method} ({scenario}) ended with {child.ExitCode}.");
    }

    /// <summary>The child's part.</summary>
    public static long MeasureHere(Scenario scenario, MethodDefinition definition)
    {
        using Problem problem = new(scenario);
        using Method method = definition.Create(problem);
        method.Train(scenario.HasBackward);
        Step step = new(method, problem, Clocks.Wall);
        for (int i = 0; i < Steps; i++)
        {
            step.Run();
        }

        using Process process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }
}
