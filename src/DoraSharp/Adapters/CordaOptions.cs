namespace DoraSharp;

/// <summary>Settings of CorDA (arXiv 2406.05223). PEFT: <c>CordaConfig</c>.</summary>
public sealed record CordaOptions
{
    /// <summary>Which triples the adapter gets. PEFT: <c>corda_method</c>.</summary>
    /// <value><see cref="CordaMethod.InstructionPreviewed"/> by default.</value>
    public CordaMethod Method
    {
        get;
        init => field = Enum.IsDefined(value) ? value : throw new ArgumentOutOfRangeException(nameof(Method), value, "Unknown CorDA method.");
    }
}
