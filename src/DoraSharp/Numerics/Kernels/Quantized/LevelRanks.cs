using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>Finds the codes of numbers in units of their block's scale: by how many thresholds lie below each.</summary>
internal readonly unsafe struct LevelRanks
{
    private const int ThresholdCount = FourBitMemory.LevelCount - 1;

    private readonly Thresholds thresholds;
    private readonly Vector128<byte> order;

    /// <param name="thresholds">The 15 midpoints between levels, ascending.</param>
    /// <param name="order">The 16 codes in the order of their levels.</param>
    public LevelRanks(ReadOnlySpan<float> thresholds, ReadOnlySpan<byte> order)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(thresholds.Length, ThresholdCount);
        thresholds.CopyTo(this.thresholds);
        this.order = Vector128.Create(order);
    }

    /// <summary>The code of a number.</summary>
    public byte Encode(float number)
    {
        int rank = 0;
        foreach (float threshold in thresholds)
        {
            rank += threshold < number ? 1 : 0;
        }

        return order[rank];
    }

    /// <summary>The codes of numbers times a factor.</summary>
    /// <param name="numbers">The numbers.</param>
    /// <param name="count">How many, a multiple of 32.</param>
    /// <param name="factor">What they are multiplied by.</param>
    /// <param name="codes">Gets the codes.</param>
    /// <param name="path">The instructions to use.</param>
    public void Encode(float* numbers, int count, float factor, byte* codes, VectorPath path)
    {
        if (path == VectorPath.Scalar)
        {
            for (int i = 0; i < count; i++)
            {
                codes[i] = Encode(numbers[i] * factor);
            }

            return;
        }

        for (int i = 0; i < count; i += 32)
        {
            Vector256<byte> ranks = path == VectorPath.Vector512 ? Ranks512(numbers + i, factor) : Ranks256(numbers + i, factor);
            Vector128.ShuffleNative(order, ranks.GetLower()).Store(codes + i);
            Vector128.ShuffleNative(order, ranks.GetUpper()).Store(codes + i + 16);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Vector256<byte> Ranks256(float* numbers, float factor)
    {
        Vector256<float> a = Vector256.Load(numbers) * factor;
        Vector256<float> b = Vector256.Load(numbers + 8) * factor;
        Vector256<float> c = Vector256.Load(numbers + 16) * factor;
        Vector256<float> d = Vector256.Load(numbers + 24) * factor;
        Vector256<int> rankA = default, rankB = default, rankC = default, rankD = default;
        foreach (float threshold in thresholds)
        {
            // A comparison that holds is -1.
            Vector256<float> bound = Vector256.Create(threshold);
            rankA -= Vector256.LessThan(bound, a).AsInt32();
            rankB -= Vector256.LessThan(bound, b).AsInt32();
            rankC -= Vector256.LessThan(bound, c).AsInt32();
            rankD -= Vector256.LessThan(bound, d).AsInt32();
        }

        return Vector256.Narrow(Vector256.Narrow(rankA, rankB), Vector256.Narrow(rankC, rankD)).AsByte();
    }

    private Vector256<byte> Ranks512(float* numbers, float factor)
    {
        Vector512<float> a = Vector512.Load(numbers) * factor;
        Vector512<float> b = Vector512.Load(numbers + 16) * factor;
        Vector512<int> rankA = default, rankB = default;
        foreach (float threshold in thresholds)
        {
            Vector512<float> bound = Vector512.Create(threshold);
            rankA -= Vector512.LessThan(bound, a).AsInt32();
            rankB -= Vector512.LessThan(bound, b).AsInt32();
        }

        Vector512<short> ranks = Vector512.Narrow(rankA, rankB);
        return Vector256.Narrow(ranks.GetLower(), ranks.GetUpper()).AsByte();
    }

    [InlineArray(ThresholdCount)]
    private struct Thresholds
    {
        private float first;
    }
}
