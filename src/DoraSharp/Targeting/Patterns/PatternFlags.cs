namespace DoraSharp;

/// <summary>The flags of a regular expression, by Python's letters.</summary>
[Flags]
internal enum PatternFlags
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary><c>a</c>: classes and cases of ASCII alone.</summary>
    Ascii = 1,

    /// <summary><c>i</c>: cases are the same.</summary>
    IgnoreCase = 2,

    /// <summary><c>m</c>: <c>^</c> and <c>$</c> at every line.</summary>
    MultiLine = 4,

    /// <summary><c>s</c>: the dot takes line feeds too.</summary>
    DotAll = 8,

    /// <summary><c>x</c>: spaces and comments mean nothing.</summary>
    Verbose = 16,

    /// <summary><c>u</c>: Unicode, the default.</summary>
    Unicode = 32,
}
