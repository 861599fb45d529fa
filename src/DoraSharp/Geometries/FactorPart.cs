namespace DoraSharp;

/// <summary>The tensors of a LoRA or DoRA adapter.</summary>
internal enum FactorPart
{
    /// <summary>The down projection A.</summary>
    A,

    /// <summary>The up projection B.</summary>
    B,

    /// <summary>B's own bias.</summary>
    BiasOfB,

    /// <summary>DoRA's magnitude m.</summary>
    Magnitude,
}
