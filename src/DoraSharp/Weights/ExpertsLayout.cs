using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The weights of several experts in one parameter, [E, out, in] or transposed [E, in, out], as the matrix [E·out, in] of one above the other.</summary>
internal sealed class ExpertsLayout(bool transposed) : WeightLayout
{
    public override (long Outputs, long Inputs) MatrixShape(long[] stored) =>
        transposed ? (stored[0] * stored[2], stored[1]) : (stored[0] * stored[1], stored[2]);

    public override Tensor ToMatrix(Tensor stored) => (transposed ? stored.transpose(1, 2) : stored).flatten(0, 1);

    public override Tensor FromMatrix(Tensor matrix, long[] stored) => transposed
        ? matrix.reshape(stored[0], stored[2], stored[1]).transpose(1, 2)
        : matrix.reshape(stored);
}
