using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Contract;

/// <summary>A convolution of one to three dimensions, with every option that changes what it does.</summary>
internal sealed class ConvolutionCase(string name, params long[] kernel) : LayerCase(name)
{
    private const long Channels = 4;
    private const long Outputs = 6;

    public long Stride { get; init; } = 1;

    public long Padding { get; init; }

    public bool IsSame { get; init; }

    public long Dilation { get; init; } = 1;

    public PaddingModes Mode { get; init; } = PaddingModes.Zeros;

    public long Groups { get; init; } = 1;

    public bool HasBias { get; init; } = true;

    public bool IsBatched { get; init; } = true;

    public GroupedUpdate Update { get; init; }

    public override GroupedUpdate GroupedUpdate => Update;

    public override bool CanMerge => !IsDense;

    // PEFT's update of a layer with groups connects every input to every output.
    private bool IsDense => Groups > 1 && Update == GroupedUpdate.Peft;

    private int Dimensions => kernel.Length;

    public override nn.Module<Tensor, Tensor> Make() => Dimensions switch
    {
        1 when IsSame => nn.Conv1d(Channels, Outputs, kernel[0], TorchSharp.Padding.Same, Stride, Dilation, Mode, Groups, HasBias),
        1 => nn.Conv1d(Channels, Outputs, kernel[0], Stride, Padding, Dilation, Mode, Groups, HasBias),
        2 when IsSame => nn.Conv2d(Channels, Outputs, (kernel[0], kernel[1]), TorchSharp.Padding.Same, (Stride, Stride), (Dilation, Dilation), Mode, Groups, HasBias),
        2 => nn.Conv2d(Channels, Outputs, (kernel[0], kernel[1]), (Stride, Stride), (Padding, Padding), (Dilation, Dilation), Mode, Groups, HasBias),
        3 when IsSame => nn.Conv3d(Channels, Outputs, (kernel[0], kernel[1], kernel[2]), TorchSharp.Padding.Same, (Stride, Stride, Stride), (Dilation, Dilation, Dilation), Mode, Groups, HasBias),
        _ => nn.Conv3d(Channels, Outputs, (kernel[0], kernel[1], kernel[2]), (Stride, Stride, Stride), (Padding, Padding, Padding), (Dilation, Dilation, Dilation), Mode, Groups, HasBias),
    };

    public override Tensor Input()
    {
        long[] places = Dimensions switch { 1 => [11], 2 => [9, 8], _ => [6, 7, 5] };
        return IsBatched ? randn([2, Channels, .. places]) : randn([Channels, .. places]);
    }

    public override Tensor Matrix(Tensor stored)
    {
        if (!IsDense)
        {
            return stored.flatten(1);
        }

        // The same function without groups: zero where an output does not see an input.
        long rows = Outputs / Groups;
        Tensor[] blocks = [.. Enumerable.Range(0, (int)Groups).Select(g => Row(stored.narrow(0, g * rows, rows).flatten(1), g))];
        return cat(blocks, dim: 0);
    }

    public override Tensor Product(Tensor x, Tensor matrix)
    {
        Tensor input = IsBatched ? x : x.unsqueeze(0);
        Tensor padded = nn.functional.pad(input, Amounts(), Mode == PaddingModes.Zeros ? PaddingModes.Constant : Mode);
        long groups = IsDense ? 1 : Groups;
        Tensor weight = matrix.reshape([matrix.shape[0], Channels / groups, .. kernel]);
        long[] stride = Repeat(Stride), none = Repeat(0), dilation = Repeat(Dilation);
        Tensor y = Dimensions switch
        {
            1 => nn.functional.conv1d(padded, weight, null, Stride, 0, Dilation, groups),
            2 => nn.functional.conv2d(padded, weight, null, stride, none, dilation, groups),
            _ => nn.functional.conv3d(padded, weight, null, stride, none, dilation, groups),
        };
        return IsBatched ? y : y.squeeze(0);
    }

    public override Tensor PerOutput(Tensor v) => v.reshape([-1, .. Repeat(1)]);

    public override Tensor MatrixOfB(Tensor b) => IsDense
        ? cat([.. Enumerable.Range(0, (int)Groups).Select(g => Row(b.narrow(0, g * Outputs / Groups, Outputs / Groups), g))], dim: 0)
        : b;

    private long[] Repeat(long value) => [.. Enumerable.Repeat(value, Dimensions)];

    private Tensor Row(Tensor block, int group)
    {
        Tensor before = zeros(block.shape[0], block.shape[1] * group, dtype: block.dtype);
        Tensor after = zeros(block.shape[0], block.shape[1] * (Groups - 1 - group), dtype: block.dtype);
        return cat([before, block, after], dim: 1);
    }

    private long[] Amounts()
    {
        // The last dimension comes first.
        IEnumerable<long> totals = kernel.Reverse().Select(size => IsSame ? Dilation * (size - 1) : 2 * Padding);
        return [.. totals.SelectMany(total => new[] { total / 2, total - (total / 2) })];
    }
}
