using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>512 bits: a permutation chooses among all sixteen levels.</summary>
internal readonly unsafe struct CodeDot512 : ICodeDot<CodeDot512>
{
    private readonly Vector512<float> levels;

    private CodeDot512(Vector512<float> levels) => this.levels = levels;

    public static CodeDot512 Create(in FourBitMemory weight) => new(Vector512.Create(weight.LowerLevels, weight.UpperLevels));

    public static void Arrange(float* x, long count, float* arranged)
    {
        for (long unit = 0; unit < count; unit += CodeUnits.Unit)
        {
            for (int k = 0; k < CodeUnits.Unit; k++)
            {
                // Vector k / 16 has four bits of each of the eight words of 32 bits, and in its second half the four bits that are 16 further up.
                int word = k % 8;
                int nibble = (k / 16) + (k % 16 / 8 * 4);
                arranged[unit + k] = x[unit + (8 * word) + (nibble ^ 1)];
            }
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    public float Sum(byte* codes, float* arranged, int length, float* scales, int offset, int blockShift)
    {
        Vector512<float> table = levels;
        Vector512<uint> lowest = Vector512.Create(15u);
        Vector512<float> sum = default;
        for (int i = 0; i < length; i += CodeUnits.Unit)
        {
            float* x = arranged + i;
            Vector256<uint> words = Vector256.Load(codes + (i >> 1)).AsUInt32();
            Vector512<uint> both = Vector512.Create(words, words >>> 16);
            Vector512<float> a = Vector512.ShuffleNative(table, (both & lowest).AsInt32()) * Vector512.Load(x);
            Vector512<float> b = Vector512.ShuffleNative(table, ((both >>> 4) & lowest).AsInt32()) * Vector512.Load(x + 16);
            a = Vector512.MultiplyAddEstimate(Vector512.ShuffleNative(table, ((both >>> 8) & lowest).AsInt32()), Vector512.Load(x + 32), a);
            b = Vector512.MultiplyAddEstimate(Vector512.ShuffleNative(table, ((both >>> 12) & lowest).AsInt32()), Vector512.Load(x + 48), b);
            sum = Vector512.MultiplyAddEstimate(a + b, Vector512.Create(scales[(offset + i) >> blockShift]), sum);
        }

        return Vector512.Sum(sum);
    }
}
