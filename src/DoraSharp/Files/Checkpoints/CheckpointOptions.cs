using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>How <see cref="CheckpointLoader"/> fills a model.</summary>
public sealed record CheckpointOptions
{
    /// <summary>How to quantize the weights of linear layers that are dense in the file; <see langword="null"/>, the default, leaves them dense.</summary>
    public QuantizationOptions? Quantization { get; init; }

    /// <summary>
    /// Modules that are not quantized, with all below them: names that a path has as one of its parts, or as a whole
    /// (<c>model.layers.0</c>). By default the output layer. transformers: <c>llm_int8_skip_modules</c>.
    /// </summary>
    public IReadOnlyList<string> KeepDense
    {
        get;
        init => field = [.. value ?? throw new ArgumentNullException(nameof(KeepDense))];
    }
    = ["lm_head"];

    /// <summary>The dtype that quantized layers compute in; by default that of the layer in the model. transformers: <c>bnb_4bit_compute_dtype</c>.</summary>
    public ScalarType? ComputeType { get; init; }

    /// <summary>Where what the model has on the meta device shall live; the CPU by default.</summary>
    public Device? Device { get; init; }

    /// <summary>The name in the file of a parameter of the model; by default the same.</summary>
    public Func<string, string>? NameInFile { get; init; }

    /// <summary>Whether the file may hold tensors that the model has no place for. By default it may not.</summary>
    public bool IgnoreUnexpected { get; init; }

    /// <summary>Is told of every tensor, when it is in its place.</summary>
    public Action<CheckpointProgress>? Progress { get; init; }

    /// <summary>Whether a module is one of <see cref="KeepDense"/>, or below one.</summary>
    /// <param name="path">The path of the module.</param>
    public bool IsKeptDense(string path) =>
        KeepDense.Any(name => name.Length > 0 && $".{path}.".Contains($".{name}.", StringComparison.Ordinal));
}
