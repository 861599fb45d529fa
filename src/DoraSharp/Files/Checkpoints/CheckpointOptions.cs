using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>How <see cref="CheckpointLoader"/> fills a model.</summary>
public sealed record CheckpointOptions
{
    /// <summary>Which linear layers and named embeddings that are dense in the file are quantized as they are read, and how; <see langword="null"/>, the default, leaves them dense.</summary>
    public ModelQuantizationOptions? Quantization { get; init; }

    /// <summary>The dtype that layers compute in which are quantized in the file; by default that of the layer in the model. transformers: <c>bnb_4bit_compute_dtype</c>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is none of float32, bfloat16, float16 and float64.</exception>
    public ScalarType? ComputeType
    {
        get;
        init => field = value is null or ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16 or ScalarType.Float64
            ? value
            : throw new ArgumentOutOfRangeException(nameof(ComputeType), value, "Quantized layers compute in float32, bfloat16, float16 or float64.");
    }

    /// <summary>Where what the model has on the meta device shall live; the CPU by default.</summary>
    public Device? Device { get; init; }

    /// <summary>The name in the file of a parameter of the model; by default the same.</summary>
    public Func<string, string>? NameInFile { get; init; }

    /// <summary>Whether the file may hold tensors that the model has no place for. By default it may not.</summary>
    public bool IgnoreUnexpected { get; init; }

    /// <summary>Is told of every tensor, when it is in its place.</summary>
    public IProgress<CheckpointProgress>? Progress { get; init; }
}
