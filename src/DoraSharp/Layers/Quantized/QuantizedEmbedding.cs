using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// An embedding whose weight is quantized and frozen: only the rows that are looked up are decoded. bitsandbytes: <c>Embedding4bit</c>,
/// which, unlike this, needs a width that its block size divides.
/// </summary>
public sealed class QuantizedEmbedding : QuantizedLayer
{
    /// <summary>Makes an embedding of a weight that is quantized already.</summary>
    /// <param name="weight">The weight [V, d], which becomes the layer's.</param>
    /// <param name="computeType">The dtype of the rows, see <see cref="QuantizedLayer.ComputeType"/>; by default the one that the weight had before it was quantized.</param>
    /// <exception cref="ArgumentException">The weight is no matrix, or rows cannot be given in that dtype.</exception>
    public QuantizedEmbedding(QuantizedTensor weight, ScalarType? computeType = null)
        : base(nameof(QuantizedEmbedding), Matrix(weight), computeType)
    {
    }

    /// <summary>The number of rows V.</summary>
    public long Rows => Weight.Shape[0];

    /// <summary>The width d of a row.</summary>
    public long Width => Weight.Shape[1];

    internal override Type DenseType => typeof(Embedding);

    /// <summary>Quantizes an embedding.</summary>
    /// <param name="layer">The embedding, [V, d]. It stays as it is, and may be disposed. A padding row is a row like any other, since none trains.</param>
    /// <param name="options">How to quantize; by default NF4 in blocks of 64 with double quantization.</param>
    /// <param name="computeType">As for the constructor.</param>
    /// <exception cref="ArgumentException">The weight is empty, not finite, or of a dtype that cannot be quantized.</exception>
    /// <exception cref="NotSupportedException">The embedding clips its rows (max_norm).</exception>
    public static QuantizedEmbedding From(Embedding layer, QuantizationOptions? options = null, ScalarType? computeType = null)
    {
        ArgumentNullException.ThrowIfNull(layer);
        if (EmbeddingTraits.Of(layer).MaxNorm is not null)
        {
            throw new NotSupportedException("An embedding that clips its rows (max_norm) cannot be quantized: make it without max_norm.");
        }

        QuantizedTensor weight = QuantizedTensor.Quantize(layer.get_parameter("weight")!, options);
        try
        {
            QuantizedEmbedding quantized = new(weight, computeType);
            quantized.train(layer.training);
            return quantized;
        }
        catch
        {
            weight.Dispose();
            throw;
        }
    }

    /// <summary>A dense embedding of the decoded weight, or of the merged one while adapters are merged into a dense copy of it.</summary>
    /// <param name="dtype">Its dtype; by default <see cref="QuantizedLayer.ComputeType"/>.</param>
    /// <returns>A new layer, which trains.</returns>
    public Embedding Dequantize(ScalarType? dtype = null)
    {
        using var noGrad = no_grad();
        ScalarType type = dtype ?? ComputeType;
        Embedding layer = nn.Embedding(Rows, Width, dtype: type, device: Stored.device);
        using Tensor decoded = Dense is { } dense ? dense.to(type) : Weight.Dequantize(type);
        layer.get_parameter("weight")!.copy_(decoded);
        layer.train(training);
        return layer;
    }

    /// <summary>The rows of some tokens.</summary>
    /// <param name="input">The ids, [...], int64 or int32.</param>
    /// <returns>[..., d] in <see cref="QuantizedLayer.ComputeType"/>.</returns>
    /// <exception cref="ArgumentException">The ids are no integers.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no row of one of the ids.</exception>
    public override Tensor forward(Tensor input)
    {
        ArgumentNullException.ThrowIfNull(input);
        if (input.dtype is not (ScalarType.Int64 or ScalarType.Int32))
        {
            throw new ArgumentException($"Ids are integers, int64 or int32; these are {input.dtype}.", nameof(input));
        }

        using var scope = NewDisposeScope();
        if (Dense is { } dense)
        {
            return dense.index_select(0, input.reshape(-1).to(ScalarType.Int64)).reshape([.. input.shape, Width]).MoveToOuterDisposeScope();
        }

        using var noGrad = no_grad();
        (Tensor ids, Tensor? places, _) = input.reshape(-1).to(ScalarType.Int64).unique(return_inverse: true);
        return QuantizedRows.Of(Weight, ids, ComputeType).index_select(0, places!).reshape([.. input.shape, Width]).MoveToOuterDisposeScope();
    }

    internal override nn.Module TakeDense()
    {
        Embedding layer = Dequantize();
        Dispose();
        return layer;
    }

    private static QuantizedTensor Matrix(QuantizedTensor weight)
    {
        ArgumentNullException.ThrowIfNull(weight);
        return weight.Shape.Count == 2
            ? weight
            : throw new ArgumentException($"An embedding's weight is a matrix [V, d]; this one is [{string.Join(", ", weight.Shape)}].", nameof(weight));
    }
}
