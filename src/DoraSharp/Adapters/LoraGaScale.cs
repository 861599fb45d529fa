namespace DoraSharp;

/// <summary>How LoRA-GA scales its factors.</summary>
public enum LoraGaScale
{
    /// <summary>B times ⁴√out/√γ. PEFT: <c>stable</c>, its default.</summary>
    Stable,

    /// <summary>By the singular values of W. PEFT: <c>weight_svd</c>.</summary>
    WeightSvd,

    /// <summary>Both divided by s. PEFT: <c>gd_scale</c>.</summary>
    GradientDescent,

    /// <summary>As they are. PEFT: <c>unit</c>.</summary>
    Unit,
}
