namespace DoraSharp;

/// <summary>The shape of the update of a convolution with groups.</summary>
public enum GroupedUpdate
{
    /// <summary>
    /// PEFT's: A [r, in, k...] sees every input channel and B [out, r/groups, 1...] is grouped. The update is no grouped
    /// weight, so it cannot be merged.
    /// </summary>
    Peft,

    /// <summary>The weight's own shape: A [r, in/groups, k...], B [out, r]. Can be merged; PEFT cannot read it.</summary>
    Mergeable,
}
