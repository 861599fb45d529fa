using System.Runtime.CompilerServices;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace DoraSharp;

/// <summary>
/// A convolution of one to three dimensions. A is a convolution like the layer's own (kernel, stride, padding, padding mode,
/// dilation), B one of kernel 1. Canonical: [batch, channels, places...].
/// </summary>
internal sealed class ConvolutionGeometry : Geometry
{
    private readonly Convolution layer;
    private readonly int dimensions;
    private readonly GroupedUpdate update;
    private readonly bool sharesAOverGroups;
    private readonly long groupsOfB;

    public ConvolutionGeometry(Convolution layer, GroupedUpdate update)
    {
        this.layer = layer;
        this.update = update;
        dimensions = layer.kernel_size.Length;
        sharesAOverGroups = layer.groups > 1 && update == GroupedUpdate.Mergeable;
        groupsOfB = layer.groups > 1 && !sharesAOverGroups ? layer.groups : 1;
    }

    public override LayerKind Kind => dimensions switch
    {
        1 => LayerKind.Conv1d,
        2 => LayerKind.Conv2d,
        _ => LayerKind.Conv3d,
    };

    private long ChannelsOfA => sharesAOverGroups ? layer.in_channels / layer.groups : layer.in_channels;

    /// <summary>The shape of the update that an adapter asks for. VeRA has none of PEFT's for groups, so it takes the weight's own.</summary>
    public static GroupedUpdate UpdateOf(AdapterOptions options) => (options as LoraOptions)?.GroupedUpdate ?? GroupedUpdate.Mergeable;

    public override void CheckOptions(AdapterOptions options)
    {
        if (layer.groups > 1 && UpdateOf(options) != update)
        {
            throw new ArgumentException(
                $"The adapters of a convolution with groups must have one {nameof(LoraOptions.GroupedUpdate)}: here {update}, not {UpdateOf(options)} ({options.Summary}).", nameof(options));
        }
    }

    public override (Tensor X, Tensor Z) Canonical(Tensor x, Tensor z, FrozenWeight weight) =>
        z.dim() == dimensions + 1 ? (x.unsqueeze(0), z.unsqueeze(0)) : (x, z);

    public override Tensor Product(Tensor x, FrozenWeight weight) => Convolve(x, weight.Stored, layer.groups);

    public override Tensor Down(Tensor x, Tensor a, double dropout)
    {
        Tensor input = dropout > 0 ? InputDropout.Apply(x, dropout) : x;
        Tensor kernel = a.reshape([a.shape[0], ChannelsOfA, .. layer.kernel_size]);
        return sharesAOverGroups
            ? Convolve(input, kernel.repeat([layer.groups, .. Ones(dimensions + 1)]), layer.groups)
            : Convolve(input, kernel, 1);
    }

    public override Tensor AddUp(Tensor y, Tensor h, Tensor b) =>
        y + Convolve(h, b.reshape([.. b.shape, .. Ones(dimensions)]), sharesAOverGroups ? layer.groups : groupsOfB, Ones(dimensions), new long[dimensions], Ones(dimensions));

    public override Tensor PerOutput(Tensor v) => v.reshape([1, -1, .. Ones(dimensions)]);

    public override long[] ShapeOfB(long outputs, int rank) => rank % groupsOfB == 0
        ? [outputs, rank / groupsOfB]
        : throw new ArgumentException($"The rank of a convolution with {groupsOfB} groups must be a multiple of that number; it is {rank}.", nameof(rank));

    public override Tensor MatrixB(Tensor b)
    {
        if (groupsOfB == 1)
        {
            return b;
        }

        return block_diag(b.reshape(groupsOfB, b.shape[0] / groupsOfB, b.shape[1]).unbind(0));
    }

    public override (string Name, long[] Shape) InFile(FactorPart part, long[] shape)
    {
        (string name, _) = base.InFile(part, shape);
        return (name, part switch
        {
            FactorPart.A => [shape[0], ChannelsOfA, .. layer.kernel_size],
            FactorPart.B => [.. shape, .. Ones(dimensions)],
            FactorPart.Magnitude => [1, shape[0], .. Ones(dimensions)],
            _ => shape,
        });
    }

    private static long[] Ones(int count) => [.. Enumerable.Repeat(1L, count)];

    private Tensor Convolve(Tensor x, Tensor kernel, long groups)
    {
        if (layer.padding_mode == PaddingModes.Zeros && layer.padding is { } padding)
        {
            return Convolve(x, kernel, groups, layer.stride, padding, layer.dilation);
        }

        // The amounts that the layer itself pads by.
        PaddingModes mode = layer.padding_mode == PaddingModes.Zeros ? PaddingModes.Constant : layer.padding_mode;
        Tensor padded = pad(x, layer.padding_mode == PaddingModes.Zeros ? SamePadding() : ReversedPadding(layer), mode);
        return Convolve(padded, kernel, groups, layer.stride, new long[dimensions], layer.dilation);
    }

    private long[] SamePadding()
    {
        if (layer.padding_type != Padding.Same)
        {
            return new long[2 * dimensions];
        }

        // pad() takes the last dimension first.
        IEnumerable<long> totals = layer.dilation.Zip(layer.kernel_size, (dilation, size) => dilation * (size - 1)).Reverse();
        return [.. totals.SelectMany(total => new[] { total / 2, total - (total / 2) })];
    }

    private Tensor Convolve(Tensor x, Tensor kernel, long groups, long[] stride, long[] padding, long[] dilation) => dimensions switch
    {
        1 => conv1d(x, kernel, null, stride[0], padding[0], dilation[0], groups),
        2 => conv2d(x, kernel, null, stride, padding, dilation, groups),
        _ => conv3d(x, kernel, null, stride, padding, dilation, groups),
    };

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "_reversed_padding_repeated_twice")]
    private static extern ref long[] ReversedPadding(Convolution layer);
}
