using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>How a stored weight relates to the matrix W [out, in] that adapters update.</summary>
internal abstract class WeightLayout
{
    /// <summary>One row per output, the rest flattened: linear layers, convolutions, matrices.</summary>
    public static WeightLayout RowMajor { get; } = new RowMajorLayout();

    /// <summary>Stored [in, out]: GPT-2's Conv1D; embeddings, of which a row is a token's vector.</summary>
    public static WeightLayout Transposed { get; } = new TransposedLayout();

    /// <summary>Why an update of this layout cannot be folded into the stored weight; <see langword="null"/> if it can.</summary>
    public virtual string? WhyNotMergeable => null;

    /// <summary>The shape [out, in] of the matrix.</summary>
    public abstract (long Outputs, long Inputs) MatrixShape(long[] stored);

    /// <summary>The matrix: a view where that is possible.</summary>
    public abstract Tensor ToMatrix(Tensor stored);

    /// <summary>The matrix in the shape in which it is stored.</summary>
    public abstract Tensor FromMatrix(Tensor matrix, long[] stored);

    private sealed class RowMajorLayout : WeightLayout
    {
        public override (long Outputs, long Inputs) MatrixShape(long[] stored) => (stored[0], stored.Skip(1).Aggregate(1L, (a, b) => a * b));

        public override Tensor ToMatrix(Tensor stored) => stored.dim() == 2 ? stored.alias() : stored.flatten(1);

        public override Tensor FromMatrix(Tensor matrix, long[] stored) => matrix.reshape(stored);
    }

    private sealed class TransposedLayout : WeightLayout
    {
        public override (long Outputs, long Inputs) MatrixShape(long[] stored) => (stored[1], stored[0]);

        public override Tensor ToMatrix(Tensor stored) => stored.t();

        public override Tensor FromMatrix(Tensor matrix, long[] stored) => matrix.t();
    }
}
