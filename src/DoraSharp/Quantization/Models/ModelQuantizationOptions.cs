using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Which linear layers of a model are quantized, and how. transformers: <c>BitsAndBytesConfig</c>.</summary>
public sealed record ModelQuantizationOptions
{
    /// <summary>The number format, block size and double quantization; by default QLoRA's.</summary>
    /// <exception cref="ArgumentNullException">There must be some.</exception>
    public QuantizationOptions Quantization
    {
        get;
        init
        {
            ArgumentNullException.ThrowIfNull(value);
            field = value;
        }
    } = new();

    /// <summary>The layers, as for adapters; by default every <c>Linear</c> but the output head and those that share their weight with an embedding.</summary>
    /// <exception cref="ArgumentNullException">There must be some.</exception>
    public TargetModules TargetModules
    {
        get;
        init
        {
            ArgumentNullException.ThrowIfNull(value);
            field = value;
        }
    } = TargetModules.AllLinear;

    /// <summary>Layers that are left alone although they are targeted. transformers: <c>llm_int8_skip_modules</c>.</summary>
    public TargetModules? ExcludeModules { get; init; }

    /// <summary>The dtype that the layers compute in, see <see cref="QuantizedLayer.ComputeType"/>; by default that of each layer's weight. transformers: <c>bnb_4bit_compute_dtype</c>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is none of float32, bfloat16, float16 and float64.</exception>
    public ScalarType? ComputeType
    {
        get;
        init => field = value is null or ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16 or ScalarType.Float64
            ? value
            : throw new ArgumentOutOfRangeException(nameof(ComputeType), value, "Quantized layers compute in float32, bfloat16, float16 or float64.");
    }
}
