using System.Globalization;

namespace DoraSharp.Benchmarks;

/// <summary>One row of the whole-model benchmark.</summary>
/// <param name="Method">What trains: see <see cref="LlamaMethods"/>.</param>
/// <param name="Dropout">The probability of dropout in the adapters.</param>
/// <param name="MicroSteps">Forward and backward passes to an optimizer step.</param>
internal sealed record LlamaCase(string Method, double Dropout, int MicroSteps)
{
    private const char Separator = ' ';

    /// <summary>The adapter options' probability of dropout that the paper used.</summary>
    public const double PaperDropout = .05;

    private const int Accumulated = 8;

    /// <summary>Every method without dropout, the adapters with it as well; one and eight micro steps.</summary>
    public static IReadOnlyList<LlamaCase> Full { get; } =
    [
        .. from steps in new[] { 1, Accumulated }
           from dropout in new[] { 0, PaperDropout }
           from method in LlamaMethods.Names
           where dropout == 0 || LlamaMethods.HasDropout(method)
           select new LlamaCase(method, dropout, steps),
    ];

    /// <summary>The same, eight micro steps without dropout and for the comparison of the adapters alone.</summary>
    public static IReadOnlyList<LlamaCase> Short { get; } =
    [
        .. Full.Where(entry => entry.MicroSteps == 1 || (entry.Dropout == 0 && (entry.Method == LlamaMethods.Frozen || LlamaMethods.HasDropout(entry.Method)))),
    ];

    /// <summary>Reads what <see cref="ToString"/> writes.</summary>
    public static LlamaCase Parse(string text)
    {
        string[] parts = text.Split(Separator);
        return new(parts[0], double.Parse(parts[1], CultureInfo.InvariantCulture), int.Parse(parts[2], CultureInfo.InvariantCulture));
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Method}{Separator}{Dropout}{Separator}{MicroSteps}");
}
