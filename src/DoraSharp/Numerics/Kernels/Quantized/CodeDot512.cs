using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>512 bits: a permutation chooses among all sixteen levels.</summary>
internal readonly unsafe struct CodeDot512 : ICodeDot
{
    public static void Arrange(float* x, long count, float* arranged)
    {
        for (long unit = 0; unit < count; unit += ICodeDot.Unit)
        {
            for (int k = 0; k < ICodeDot.Unit; k++)
            {
                // Vector k / 16 has four bits of each of the eight words of 32 bits, and in its second half the four bits that are 16 further up.
                int word = k % 8;
                int nibble = (k / 16) + (k % 16 / 8 * 4);
                arranged[unit + k] = x[unit + (8 * word) + (nibble ^ 1)];
            }
        }
    }

    public static float Dot(in FourBitMemory weight, long first, long count, float* arranged)
    {
        Vector512<float> levels = Vector512.Create(weight.LowerLevels, weight.UpperLevels);
        Vector512<uint> lowest = Vector512.Create(15u);
        ScaleMemory scales = weight.Scales;
        Vector512<float> sum = default;
        byte* codes = weight.Codes + (first >> 1);
        for (long i = 0; i < count; i += ICodeDot.Unit)
        {
            Vector256<uint> words = Vector256.Load(codes + (i >> 1)).AsUInt32();
            Vector512<uint> both = Vector512.Create(words, words >>> 16);
            float* x = arranged + i;
            Vector512<float> a = Vector512.ShuffleNative(levels, (both & lowest).AsInt32()) * Vector512.Load(x);
            Vector512<float> b = Vector512.ShuffleNative(levels, ((both >>> 4) & lowest).AsInt32()) * Vector512.Load(x + 16);
            a = Vector512.MultiplyAddEstimate(Vector512.ShuffleNative(levels, ((both >>> 8) & lowest).AsInt32()), Vector512.Load(x + 32), a);
            b = Vector512.MultiplyAddEstimate(Vector512.ShuffleNative(levels, ((both >>> 12) & lowest).AsInt32()), Vector512.Load(x + 48), b);
            sum = Vector512.MultiplyAddEstimate(a + b, Vector512.Create(scales[weight.Block(first + i)]), sum);
        }

        return Vector512.Sum(sum);
    }
}
