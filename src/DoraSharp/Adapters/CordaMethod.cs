namespace DoraSharp;

/// <summary>Which triples of CorDA's decomposition train.</summary>
public enum CordaMethod
{
    /// <summary>The first r, which matter most to the sampled task. PEFT: <c>ipm</c>.</summary>
    InstructionPreviewed,

    /// <summary>The last r, which matter least to the sampled knowledge, so that it is kept. PEFT: <c>kpm</c>.</summary>
    KnowledgePreserved,
}
