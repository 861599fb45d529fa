namespace DoraSharp;

/// <summary>How a layer uses its weight, which decides how plain factors start.</summary>
internal enum WeightUse
{
    /// <summary>It multiplies inputs: linear layers, convolutions, attention.</summary>
    Product,

    /// <summary>Rows are looked up: embeddings. A picks columns by token, so that A, not B, starts at zero.</summary>
    Lookup,
}
