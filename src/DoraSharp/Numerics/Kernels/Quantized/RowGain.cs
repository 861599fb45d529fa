namespace DoraSharp;

/// <summary>What DoRA multiplies the rows of a weight by; nothing by default.</summary>
/// <param name="factors">g of each row.</param>
/// <param name="width">The elements of a row.</param>
internal readonly unsafe struct RowGain(float* factors, long width)
{
    /// <summary>Whether rows are multiplied at all.</summary>
    public bool Exists => factors is not null;

    /// <summary>The row of an element.</summary>
    public long Row(long element) => element / width;

    /// <summary>The first element behind a row.</summary>
    public long RowEnd(long row) => (row + 1) * width;

    /// <summary>g of a row.</summary>
    public float Of(long row) => factors[row];
}
