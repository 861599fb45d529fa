using System.Diagnostics;
using System.Globalization;
using Spectre.Console;

namespace DoraSharp.Samples;

/// <summary>Shows how a training gets on: a live bar on a terminal, a line now and then where the output goes elsewhere.</summary>
public sealed class TrainingDisplay(IAnsiConsole console)
{
    private const int TitleWidth = 16;

    private static readonly TimeSpan LineInterval = TimeSpan.FromSeconds(5);

    /// <summary>Does the work, which tells the display about each step, and returns its result.</summary>
    public T Show<T>(string title, int steps, Func<Action<TrainingProgress>, T> work) =>
        console.Profile.Out.IsTerminal && console.Profile.Capabilities.Ansi
            ? ShowBar(title.PadRight(TitleWidth), steps, work)
            : ShowLines(title.PadRight(TitleWidth), work);

    private T ShowBar<T>(string title, int steps, Func<Action<TrainingProgress>, T> work)
    {
        // The bar hides the cursor, and Ctrl-C ends the process before the bar can bring it back.
        ConsoleCancelEventHandler showCursor = (_, _) => console.Cursor.Show(true);
        Console.CancelKeyPress += showCursor;
        try
        {
            return console.Progress()
                .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new TrainingColumn())
                .Start(context =>
                {
                    ProgressTask task = context.AddTask(Markup.Escape(title), maxValue: steps);
                    return work(progress =>
                    {
                        task.State.Update<TrainingProgress>(TrainingColumn.Key, _ => progress);
                        task.Value = progress.Step;
                    });
                });
        }
        finally
        {
            Console.CancelKeyPress -= showCursor;
        }
    }

    private T ShowLines<T>(string title, Func<Action<TrainingProgress>, T> work)
    {
        Stopwatch sinceLine = Stopwatch.StartNew();
        return work(progress =>
        {
            if (progress.Step == 1 || progress.Step == progress.Steps || sinceLine.Elapsed >= LineInterval)
            {
                sinceLine.Restart();
                console.WriteLine($"{title}  {Describe(progress)}");
            }
        });
    }

    internal static string Describe(TrainingProgress progress) => string.Create(
        CultureInfo.InvariantCulture,
        $"{progress.Step}/{progress.Steps}  loss {progress.Loss:F3}  {progress.TokensPerSecond,7:N0} tokens/s  {Hours(progress.Remaining)}{progress.Remaining:mm\\:ss} left");

    private static string Hours(TimeSpan time) => time.TotalHours >= 1 ? string.Create(CultureInfo.InvariantCulture, $"{(long)time.TotalHours}:") : "";
}
