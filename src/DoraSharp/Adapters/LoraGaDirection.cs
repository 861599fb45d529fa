namespace DoraSharp;

/// <summary>Which of the leading 2r singular vectors of a weight's gradient become A's rows and B's columns.</summary>
public enum LoraGaDirection
{
    /// <summary>A the first r right vectors, B the second r left ones. PEFT: <c>ArB2r</c>, its default.</summary>
    ArB2r,

    /// <summary>A the second r right vectors, B the first r left ones. PEFT: <c>A2rBr</c>.</summary>
    A2rBr,

    /// <summary>A the odd right vectors, B the even left ones. PEFT: <c>ArBr</c>.</summary>
    ArBr,

    /// <summary>A random choice of the 2r. PEFT: <c>random</c>.</summary>
    Random,
}
