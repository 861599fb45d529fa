using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Single rows of a quantized matrix.</summary>
internal static class QuantizedRows
{
    /// <summary>The rows with the given indices, [n, columns], decoded one by one.</summary>
    /// <param name="weight">The matrix.</param>
    /// <param name="indices">[n], int64.</param>
    /// <param name="dtype">The dtype to decode to.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such row.</exception>
    public static Tensor Of(QuantizedTensor weight, Tensor indices, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        long[] rows = indices.cpu().data<long>().ToArray();
        int wrong = Array.FindIndex(rows, row => row < 0 || row >= weight.Shape[0]);
        if (wrong >= 0)
        {
            throw new ArgumentOutOfRangeException(nameof(indices), rows[wrong], $"The weight has the rows 0 to {weight.Shape[0] - 1}.");
        }

        Tensor decoded = empty([rows.Length, weight.Shape[1]], dtype, weight.Device);
        for (int i = 0; i < rows.Length; i++)
        {
            using Tensor destination = decoded.narrow(0, i, 1);
            weight.DequantizeRows(rows[i], 1, destination);
        }

        return decoded.MoveToOuterDisposeScope();
    }
}
