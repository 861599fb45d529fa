using System.Numerics;

namespace DoraSharp;

/// <summary>How to quantize a tensor. The defaults are QLoRA's: NF4 in blocks of 64 with double quantization, 4.127 bits per parameter.</summary>
public sealed record QuantizationOptions
{
    /// <summary>The smallest number of elements that can share a scale.</summary>
    public const int MinBlockSize = 32;

    /// <summary>The largest number of elements that can share a scale.</summary>
    public const int MaxBlockSize = 4096;

    /// <summary>The number format. bitsandbytes: <c>bnb_4bit_quant_type</c>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is none of the enumeration.</exception>
    public QuantizationFormat Format
    {
        get;
        init => field = Enum.IsDefined(value) ? value : throw new ArgumentOutOfRangeException(nameof(Format), value, $"Format must be one of {string.Join(", ", Enum.GetNames<QuantizationFormat>())}.");
    }

    /// <summary>
    /// How many elements share a scale: a power of two from 32 to 4096. Blocks run over the flattened row-major tensor, whose
    /// size need be no multiple. <see cref="QuantizationFormat.Int8Rows"/> has one scale per row instead.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is no power of two from 32 to 4096.</exception>
    public int BlockSize
    {
        get;
        init => field = IsBlockSize(value)
            ? value
            : throw new ArgumentOutOfRangeException(nameof(BlockSize), value, $"BlockSize must be a power of two from {MinBlockSize} to {MaxBlockSize}.");
    }
    = 64;

    /// <summary>
    /// Whether the scales of a 4-bit format are themselves stored in 8 bits, in blocks of 256 (QLoRA, section 3): .125 + .002
    /// bits per parameter in place of .5. The 8-bit formats keep their scales as they are. bitsandbytes: <c>bnb_4bit_use_double_quant</c>.
    /// </summary>
    public bool DoubleQuantization { get; init; } = true;

    /// <summary>Whether the format has 4 bits per element.</summary>
    internal bool IsFourBit => Format is QuantizationFormat.Nf4 or QuantizationFormat.Fp4;

    /// <summary>Whether so many elements can share a scale.</summary>
    internal static bool IsBlockSize(int size) => size is >= MinBlockSize and <= MaxBlockSize && BitOperations.IsPow2(size);
}
