namespace DoraSharp;

/// <summary>Where a DoRA adapter's dropout acts in training. In evaluation both are the same function.</summary>
public enum DropoutPlacement
{
    /// <summary>
    /// On the adapter path only, as the paper describes it: <c>y = g ⊙ (W x + s·B·A·drop(x)) + b</c>.
    /// One product with the frozen weight, forward and backward.
    /// </summary>
    AdapterPath,

    /// <summary>
    /// Hugging Face PEFT's: <c>y = W x + b + (g − 1) ⊙ W drop(x) + g ⊙ s·B·A·drop(x)</c>.
    /// Needs a second product with the frozen weight, forward and backward.
    /// </summary>
    Peft,
}
