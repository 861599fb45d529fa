namespace DoraSharp;

/// <summary>Matching a pattern takes more steps than a tame pattern needs, or nests deeper than the stack holds.</summary>
internal sealed class PatternCostException : InvalidOperationException
{
    public PatternCostException(string what)
        : base(what)
    {
    }

    public PatternCostException(string what, Exception inner)
        : base(what, inner)
    {
    }
}
