namespace DoraSharp;

/// <summary>A pattern is no regular expression of Python's.</summary>
internal sealed class PatternSyntaxException : FormatException
{
    public PatternSyntaxException(string what, int position)
        : base($"{what} at position {position}")
    {
    }

    public PatternSyntaxException(string what, Exception inner)
        : base(what, inner)
    {
    }
}
