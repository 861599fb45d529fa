using System.Globalization;
using Spectre.Console;

namespace DoraSharp.Samples;

/// <summary>A console whose output goes into a string, as when a shell redirects it.</summary>
internal sealed class TextConsole : IDisposable
{
    private readonly StringWriter writer = new(CultureInfo.InvariantCulture);

    public TextConsole()
    {
        Console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, Out = new AnsiConsoleOutput(writer) });
        Console.Profile.Width = 200;
    }

    public IAnsiConsole Console { get; }

    public string Text => writer.ToString();

    public void Dispose() => writer.Dispose();
}
