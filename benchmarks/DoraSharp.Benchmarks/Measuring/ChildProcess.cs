using System.Diagnostics;
using System.Reflection;

namespace DoraSharp.Benchmarks;

/// <summary>This program once more, as a process that answers lines with lines: what it holds in memory is its own.</summary>
internal sealed class ChildProcess : IDisposable
{
    private readonly Process process;

    /// <param name="arguments">A hidden command of this program, with its arguments.</param>
    public ChildProcess(params IEnumerable<string> arguments)
    {
        ProcessStartInfo start = new(Environment.ProcessPath!) { RedirectStandardInput = true, RedirectStandardOutput = true, UseShellExecute = false };
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet")
        {
            start.ArgumentList.Add(Assembly.GetExecutingAssembly().Location);
        }

        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        // glibc gives every tensor pages of its own and unmaps them with it: resident memory is what lives.
        start.Environment["MALLOC_MMAP_THRESHOLD_"] = "65536";
        process = Process.Start(start)!;
    }

    /// <summary>Sends a line and waits for the answer.</summary>
    /// <exception cref="InvalidOperationException">The process ended instead.</exception>
    public string Ask(string line)
    {
        process.StandardInput.WriteLine(line);
        process.StandardInput.Flush();
        return process.StandardOutput.ReadLine() ?? throw new InvalidOperationException($"The process that measures memory ended before it answered '{line}'.");
    }

    public void Dispose()
    {
        process.StandardInput.Close();
        process.WaitForExit();
        process.Dispose();
    }

    /// <summary>The child's part: answers until the parent closes.</summary>
    public static void Answer(Func<string, string> answer)
    {
        while (Console.ReadLine() is { } line)
        {
            Console.WriteLine(answer(line));
        }
    }
}
