namespace DoraSharp.Benchmarks;

/// <summary>What one step is.</summary>
internal enum StepMode
{
    /// <summary>Forward and backward once per optimizer step, to x and to the adapter.</summary>
    Train,

    /// <summary>The same, eight micro steps to an optimizer step; times are per micro step.</summary>
    Accumulate8,

    /// <summary>Forward without gradients.</summary>
    Eval,
}
