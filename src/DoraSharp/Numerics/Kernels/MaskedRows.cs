using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>Dropout on parts of the rows of a matrix, whose width is a multiple of <see cref="DropoutBits.Step"/>.</summary>
/// <param name="mask">The mask of the whole matrix.</param>
/// <param name="width">The matrix's columns.</param>
internal sealed unsafe class MaskedRows(CountedMask mask, long width)
{
    /// <summary>1/(1 − p).</summary>
    public float Factor { get; } = (float)(1 / (1 - mask.Probability));

    /// <summary>Copies a part of the matrix, with the mask and the factor applied.</summary>
    /// <param name="matrix">The whole matrix.</param>
    /// <param name="firstRow">The part's first row.</param>
    /// <param name="rows">Its rows.</param>
    /// <param name="firstColumn">Its first column.</param>
    /// <param name="columns">Its columns.</param>
    /// <param name="target">[rows, stride].</param>
    /// <param name="stride">From a row of the target to the next one.</param>
    /// <param name="kept">Takes a bit for each element that is kept, [rows, stride / 8], if wanted.</param>
    public void Copy(float* matrix, long firstRow, int rows, long firstColumn, int columns, float* target, nint stride, byte* kept = null)
    {
        Vector256<float> factor = Vector256.Create(Factor);
        for (int row = 0; row < rows; row++)
        {
            long index = ((firstRow + row) * width) + firstColumn;
            float* to = target + (row * stride);
            byte* keptOfRow = kept is null ? null : kept + (row * stride / DropoutBits.Step);
            DropoutBits.Keyed bits = mask.Bits.From(index);
            for (int column = 0; column < columns; column += DropoutBits.Step)
            {
                if ((uint)(index + column) == 0)
                {
                    bits = mask.Bits.From(index + column);
                }

                Vector256<int> keep = bits.Kept(index + column);
                ((Vector256.Load(matrix + index + column) * factor) & keep.AsSingle()).Store(to + column);
                if (kept is not null)
                {
                    keptOfRow[column / DropoutBits.Step] = (byte)keep.ExtractMostSignificantBits();
                }
            }
        }
    }
}
