namespace DoraSharp;

/// <summary>The instructions that a kernel over packed weights runs on. Results are the same with each; a test may force any that the processor has.</summary>
internal enum VectorPath
{
    /// <summary>One element at a time, on any processor.</summary>
    Scalar,

    /// <summary>256 bits: AVX2.</summary>
    Vector256,

    /// <summary>512 bits. Where the processor lacks them the runtime emulates them: slow, but the same.</summary>
    Vector512,
}
