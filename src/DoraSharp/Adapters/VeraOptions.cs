namespace DoraSharp;

/// <summary>The options of VeRA (arXiv 2310.11454) and, with <see cref="AdapterOptions.UseDora"/>, DVoRA adapters. The twin of PEFT's <c>VeraConfig</c>.</summary>
/// <remarks>
/// All layers share two frozen random projections A and B; each trains two vectors: ΔW = diag(b)·B·diag(d)·A.
/// Immutable. Every value is checked where it is set; a bad one throws with the property's name.
/// </remarks>
public sealed record VeraOptions : AdapterOptions
{
    /// <summary>VeRA's defaults.</summary>
    public VeraOptions() => Rank = 256;

    /// <summary>What the elements of d start with; b starts with zeros. PEFT: <c>d_initial</c>.</summary>
    /// <value>A finite number; the default is 0.1.</value>
    public double DInitial
    {
        get;
        init => field = double.IsFinite(value) ? value : throw new ArgumentOutOfRangeException(nameof(DInitial), value, "DInitial must be finite.");
    } = 0.1;

    /// <summary>The seed of the projections' random values. PEFT: <c>projection_prng_key</c>.</summary>
    /// <value>0 by default.</value>
    public long ProjectionKey { get; init; }

    /// <summary>
    /// Whether a saved adapter holds the projections. Without them its file is smaller, but a reader must make the same
    /// random values from the seed. PEFT: <c>save_projection</c>.
    /// </summary>
    /// <value><see langword="true"/> by default.</value>
    public bool SaveProjection { get; init; } = true;

    internal override string Summary => $"{(UseDora ? "DVoRA" : "VeRA")} rank {Rank}";
}
