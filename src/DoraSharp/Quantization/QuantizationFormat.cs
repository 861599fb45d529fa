namespace DoraSharp;

/// <summary>How a quantized tensor writes its numbers.</summary>
public enum QuantizationFormat
{
    /// <summary>4 bits, 16 levels that are quantiles of a normal distribution (QLoRA, arXiv 2305.14314). bitsandbytes: <c>nf4</c>.</summary>
    Nf4,

    /// <summary>4 bits: a sign, two bits of exponent, one of mantissa. bitsandbytes: <c>fp4</c>.</summary>
    Fp4,

    /// <summary>8-bit integers, one scale per row of a matrix (LLM.int8, arXiv 2208.07339). bitsandbytes: <c>Linear8bitLt</c>.</summary>
    Int8Rows,

    /// <summary>8 bits, 256 levels whose distances grow with their size (arXiv 2110.02861). bitsandbytes: <c>quantize_blockwise</c>.</summary>
    Blockwise8,
}
