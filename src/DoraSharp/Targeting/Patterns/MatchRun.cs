using System.Runtime.CompilerServices;

namespace DoraSharp;

/// <summary>One attempt to match a text: where the groups are, and how many steps are left.</summary>
/// <param name="text">The text's code points.</param>
/// <param name="groupCount">The number of groups, the whole match included.</param>
/// <param name="steps">The steps that may be taken.</param>
internal sealed class MatchRun(int[] text, int groupCount, long steps)
{
    /// <summary>The text's code points.</summary>
    public int[] Text => text;

    /// <summary>Start and end of each group; <see langword="null"/> for one that took no part.</summary>
    public (int Start, int End)?[] Groups { get; private set; } = new (int, int)?[groupCount];

    /// <summary>The steps that are left.</summary>
    public long StepsLeft { get; private set; } = steps;

    /// <summary>Counts a step.</summary>
    /// <exception cref="PatternCostException">None is left.</exception>
    public void Step()
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        if (--StepsLeft < 0)
        {
            throw new PatternCostException("it takes too many steps");
        }
    }

    /// <summary>The groups as they are now, to be put back by <see cref="Restore"/>.</summary>
    public (int Start, int End)?[] Snapshot() => [.. Groups];

    /// <summary>Puts groups back.</summary>
    public void Restore((int Start, int End)?[] snapshot) => Groups = snapshot;
}
