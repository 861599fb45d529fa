namespace DoraSharp;

/// <summary>Settings of LoftQ (arXiv 2310.08659). PEFT: <c>LoftQConfig</c>.</summary>
public sealed record LoftqOptions
{
    /// <summary>The number of bits: 4 (NF4). PEFT: <c>loftq_bits</c>.</summary>
    public int Bits
    {
        get;
        init => field = value == 4 ? value : throw new ArgumentOutOfRangeException(nameof(Bits), value, "LoftQ quantizes to 4 bits.");
    } = 4;

    /// <summary>The number of alternations. PEFT: <c>loftq_iter</c>.</summary>
    /// <value>1 or more; the default is 1.</value>
    public int Iterations
    {
        get;
        init => field = value >= 1 ? value : throw new ArgumentOutOfRangeException(nameof(Iterations), value, "LoftQ needs 1 iteration or more.");
    } = 1;
}
