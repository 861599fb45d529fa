using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// The weight [out, in/groups, k...] of a convolution with groups, as the matrix [out, in·k...] of the convolution
/// without groups that does the same: zero where an output does not see an input. PEFT's update of such a layer has that shape.
/// </summary>
internal sealed class GroupedLayout(long groups) : WeightLayout
{
    public override string WhyNotMergeable =>
        $"the layer has {groups} groups and PEFT's update of it connects every input to every output, which its weight cannot hold. " +
        $"Train with {nameof(LoraOptions)}.{nameof(LoraOptions.GroupedUpdate)} = {nameof(GroupedUpdate)}.{nameof(GroupedUpdate.Mergeable)} to be able to merge";

    public override (long Outputs, long Inputs) MatrixShape(long[] stored) => (stored[0], stored.Skip(1).Aggregate(groups, (a, b) => a * b));

    public override Tensor ToMatrix(Tensor stored)
    {
        long columns = stored.numel() / stored.shape[0];
        Tensor[] blocks = stored.reshape(groups, stored.shape[0] / groups, columns).unbind(0);
        return block_diag(blocks);
    }

    public override Tensor FromMatrix(Tensor matrix, long[] stored) => throw new NotSupportedException(WhyNotMergeable);
}
