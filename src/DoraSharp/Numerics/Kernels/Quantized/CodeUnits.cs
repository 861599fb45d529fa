namespace DoraSharp;

/// <summary>How <see cref="ICodeDot{TSelf}"/> takes a row apart.</summary>
internal static class CodeUnits
{
    /// <summary>The elements of a unit.</summary>
    public const int Unit = 64;

    /// <summary>The elements whose scales are read at once, a multiple of the unit.</summary>
    public const int Piece = 4096;
}
