using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A running mean in 8 bits, with a scale per block (arXiv 2110.02861).</summary>
/// <remarks>
/// The codes are those of bitsandbytes on a CPU, whose bins keep a mean square that is not 0 from becoming 0: the step divides by its
/// root. The one exception is 0, which stays 0; there it becomes 2e-5 of the block's scale, which moves parameters without a gradient.
/// </remarks>
internal sealed class Blockwise8Moment : Moment
{
    /// <summary>The number of elements that share a scale.</summary>
    public const int BlockSize = 256;

    private readonly Tensor codes;
    private readonly Tensor scales;
    private readonly CodeMap map;

    /// <summary>Takes codes and scales.</summary>
    /// <param name="codes">Uint8 [elements].</param>
    /// <param name="scales">Float32 [blocks].</param>
    /// <param name="signed">Whether there are negative numbers.</param>
    public Blockwise8Moment(Tensor codes, Tensor scales, bool signed)
        : this(codes, scales, signed ? CodeMap.DynamicSigned : CodeMap.DynamicUnsigned)
    {
    }

    private Blockwise8Moment(Tensor codes, Tensor scales, CodeMap map)
        => (this.codes, this.scales, this.map) = (codes.DetachFromDisposeScope(), scales.DetachFromDisposeScope(), map);

    /// <inheritdoc/>
    protected override IReadOnlyList<Tensor> Tensors => [codes, scales];

    /// <summary>The codes, uint8 [elements].</summary>
    public Tensor Codes => codes;

    /// <summary>The scales, float32 [blocks].</summary>
    public Tensor Scales => scales;

    /// <inheritdoc/>
    public override Tensor Load(long start, long count) =>
        EightBitCodec.Dequantize(codes, ScalesOf(start, count), map, BlockSize, start, count);

    /// <inheritdoc/>
    public override void Store(long start, Tensor values)
    {
        using var scope = NewDisposeScope();
        (Tensor fresh, Tensor largest) = EightBitCodec.Quantize(values, map, BlockSize, binned: true);
        codes.narrow(0, start, values.numel()).copy_(fresh.masked_fill_(values.eq(0), map.Zero));
        ScalesOf(start, values.numel()).copy_(largest);
    }

    /// <inheritdoc/>
    public override Moment Copy(Device device) => new Blockwise8Moment(codes.to(device, copy: true), scales.to(device, copy: true), map);

    /// <inheritdoc/>
    protected override void Check(bool signed) => Check(scales, signed: false, "the scale of a block");

    private Tensor ScalesOf(long start, long count) => scales.narrow(0, start / BlockSize, BlockSpan.Count(count, BlockSize));
}
