namespace DoraSharp;

/// <summary>How TIES elects the sign of an element. A tie elects plus. PEFT: <c>majority_sign_method</c>.</summary>
public enum MajoritySign
{
    /// <summary>The sign of the sum of the adapters' values, before weighting. PEFT: <c>total</c>.</summary>
    Total,

    /// <summary>The sign that most adapters have. PEFT: <c>frequency</c>.</summary>
    Frequency,
}
