using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A tensor in 4 or 8 bits per element, which gives its values back rounded: codes, and scales that blocks of elements or rows
/// share. Bit for bit what bitsandbytes computes on a CPU, on every device.
/// </summary>
/// <remarks>It owns its tensors, whatever dispose scope it was made in; moving or copying gives another one. Quantized values have no gradient.</remarks>
public abstract class QuantizedTensor : IDisposable
{
    private protected QuantizedTensor(Tensor codes, IReadOnlyList<long> shape, ScalarType dtype, QuantizationOptions options)
        => (Codes, Shape, DType, Options) = (codes.DetachFromDisposeScope(), shape, dtype, options);

    /// <summary>The shape of the tensor that was quantized.</summary>
    public IReadOnlyList<long> Shape { get; }

    /// <summary>Its element type: what <see cref="Dequantize"/> rounds to by default.</summary>
    public ScalarType DType { get; }

    /// <summary>How it was quantized.</summary>
    public QuantizationOptions Options { get; }

    /// <summary>Where it lives.</summary>
    public Device Device => Codes.device;

    /// <summary>
    /// The codes: 4-bit formats uint8 [⌈n/2⌉, 1], the element with the even index in the upper half of a byte;
    /// <see cref="QuantizationFormat.Blockwise8"/> uint8 and <see cref="QuantizationFormat.Int8Rows"/> int8 in the tensor's shape. They stay this object's.
    /// </summary>
    public Tensor Codes { get; }

    /// <summary>The memory that codes and scales take, in bytes.</summary>
    public long Bytes => Tensors.Sum(static tensor => tensor.numel() * tensor.element_size());

    /// <summary>The memory per element, in bits.</summary>
    public double BitsPerParameter => 8.0 * Bytes / Elements;

    /// <summary>The number of elements.</summary>
    internal long Elements => Shape.Aggregate(1L, static (product, size) => product * size);

    /// <summary>All that it holds.</summary>
    private protected abstract IEnumerable<Tensor> Tensors { get; }

    /// <summary>Quantizes a tensor.</summary>
    /// <param name="source">
    /// Any shape but empty, with any strides, on any device; <see cref="QuantizationFormat.Int8Rows"/> takes matrices. Float32, bfloat16, float16, or
    /// float64, which is rounded to float32 first. It stays the caller's.
    /// </param>
    /// <param name="options">How; by default NF4 in blocks of 64 with double quantization.</param>
    /// <exception cref="ArgumentException">
    /// The tensor is empty, sparse or on the meta device, is not of floating point, has an element that is not finite (which would spoil its whole block), or
    /// does not fit the format.
    /// </exception>
    public static QuantizedTensor Quantize(Tensor source, QuantizationOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        options ??= new QuantizationOptions();
        if (source.dtype is not (ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16 or ScalarType.Float64))
        {
            throw new ArgumentException($"A tensor of dtype {source.dtype} cannot be quantized: convert it to float32, bfloat16 or float16 first.", nameof(source));
        }

        if (source.is_meta || source.is_sparse)
        {
            throw new ArgumentException($"A tensor {(source.is_meta ? "on the meta device has no values" : "that is sparse cannot be quantized: take to_dense()")}.", nameof(source));
        }

        if (source.numel() == 0)
        {
            throw new ArgumentException($"A tensor of shape [{string.Join(", ", source.shape)}] has no elements to quantize.", nameof(source));
        }

        return options.Format switch
        {
            QuantizationFormat.Int8Rows => Int8RowsTensor.Create(source, options),
            QuantizationFormat.Blockwise8 => Blockwise8Tensor.Create(source, options),
            _ => FourBitTensor.Create(source, options),
        };
    }

    /// <summary>The tensor that codes and scales stand for: a new one of the original shape, without gradient, which the caller disposes.</summary>
    /// <param name="dtype">Its element type: the float32 values are rounded to it, to the nearest, ties to even. By default <see cref="DType"/>.</param>
    /// <exception cref="ArgumentException">The type is not float32, bfloat16, float16 or float64.</exception>
    public Tensor Dequantize(ScalarType? dtype = null)
    {
        ScalarType type = dtype ?? DType;
        if (type is not (ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16 or ScalarType.Float64))
        {
            throw new ArgumentException($"Quantized values cannot be given as {type}: take float32, bfloat16, float16 or float64.", nameof(dtype));
        }

        using var noGrad = no_grad();
        Tensor result = empty([.. Shape], type, Device);
        using Tensor flat = result.view(-1);
        DequantizeInto(flat, 0);
        return result;
    }

    /// <summary>Writes some rows of a matrix into a buffer that is kept.</summary>
    /// <param name="first">The first row.</param>
    /// <param name="count">How many rows.</param>
    /// <param name="destination">[count, in], contiguous, float32, bfloat16, float16 or float64.</param>
    /// <param name="rowGain">Float32 [out]: each row times it, in float32, before it is rounded to the destination's type.</param>
    internal void DequantizeRows(long first, long count, Tensor destination, Tensor? rowGain = null)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        long inputs = Elements / Shape[0];
        Tensor flat = destination.view(-1);
        if (rowGain is null)
        {
            DequantizeInto(flat, first * inputs);
            return;
        }

        if (TryDecode(flat, first * inputs, inputs, rowGain))
        {
            return;
        }

        long step = Math.Max(BlockSpan.Piece / inputs, 1);
        for (long row = 0; row < count; row += step)
        {
            using var piece = NewDisposeScope();
            long rows = Math.Min(step, count - row);
            Tensor values = Decode((first + row) * inputs, rows * inputs).view(rows, inputs);
            destination.narrow(0, row, rows).copy_(values.mul_(rowGain.narrow(0, first + row, rows).unsqueeze(1)));
        }
    }

    /// <summary>‖row‖² of a matrix in float64, [out].</summary>
    internal virtual Tensor SquaredRowNorms()
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        long outputs = Shape[0], inputs = Elements / outputs;
        long step = Math.Clamp((1 << 20) / inputs, 1, outputs);
        Tensor norms = empty([outputs], ScalarType.Float64, Device);
        for (long row = 0; row < outputs; row += step)
        {
            using var piece = NewDisposeScope();
            long rows = Math.Min(step, outputs - row);
            norms.narrow(0, row, rows).copy_(Decode(row * inputs, rows * inputs).view(rows, inputs).to(ScalarType.Float64).square().sum(dim: 1));
        }

        return norms.MoveToOuterDisposeScope();
    }

    /// <summary>A copy with memory of its own.</summary>
    public QuantizedTensor Clone() => Copy(static tensor => tensor.clone());

    /// <summary>A copy on a device, with memory of its own.</summary>
    /// <param name="device">Where the copy lives.</param>
    public QuantizedTensor To(Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        return Copy(tensor => tensor.to(device, copy: true));
    }

    /// <summary>Frees codes and scales.</summary>
    public void Dispose()
    {
        foreach (Tensor tensor in Tensors)
        {
            tensor.Dispose();
        }

        GC.SuppressFinalize(this);
    }

    /// <summary>The float32 values of some elements of the flattened tensor, [count]: a tensor of its own.</summary>
    private protected abstract Tensor Decode(long first, long count);

    /// <summary>Decodes by a kernel, if there is one for this device.</summary>
    /// <param name="destination">Contiguous, one-dimensional: gets the elements from <paramref name="first"/> on.</param>
    /// <param name="first">The first element; with <paramref name="rowGain"/> the first of a row.</param>
    /// <param name="width">The number of elements of a row.</param>
    /// <param name="rowGain">As for <see cref="DequantizeRows"/>.</param>
    private protected virtual bool TryDecode(Tensor destination, long first, long width, Tensor? rowGain) => false;

    /// <summary>A copy whose tensors <paramref name="copy"/> makes.</summary>
    private protected abstract QuantizedTensor Copy(Func<Tensor, Tensor> copy);

    /// <summary>The error of a source that is not finite.</summary>
    private protected static void CheckFinite(Tensor scales, Tensor source)
    {
        if (!Finite.All(scales))
        {
            throw new ArgumentException("A tensor with NaN or infinite values cannot be quantized: one of them makes its whole block useless.", nameof(source));
        }
    }

    private void DequantizeInto(Tensor destination, long first)
    {
        if (TryDecode(destination, first, width: 1, rowGain: null))
        {
            return;
        }

        long total = destination.numel();
        for (long start = 0; start < total; start += BlockSpan.Piece)
        {
            using var piece = NewDisposeScope();
            long count = Math.Min(BlockSpan.Piece, total - start);
            destination.narrow(0, start, count).copy_(Decode(first + start, count));
        }
    }
}
