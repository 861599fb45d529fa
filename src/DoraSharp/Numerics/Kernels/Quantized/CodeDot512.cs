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

    public static void Run(in FourBitMemory weight, long width, long first, long end, float* arranged, float* target, long stride)
    {
        Vector512<float> levels = Vector512.Create(weight.LowerLevels, weight.UpperLevels);
        Vector512<uint> lowest = Vector512.Create(15u);
        ScaleMemory scales = weight.Scales;
        int shift = weight.BlockShift;
        float* buffer = stackalloc float[ICodeDot.Piece / ICodeDot.Unit];
        for (long row = first; row < end; row++)
        {
            Vector512<float> sum = default;
            for (long start = 0; start < width; start += ICodeDot.Piece)
            {
                int length = (int)Math.Min(ICodeDot.Piece, width - start);
                long element = (row * width) + start;
                long block = element >> shift;
                int offset = (int)(element - (block << shift));
                float* ofBlocks = scales.Read(block, ((offset + length - 1) >> shift) + 1, buffer);
                byte* codes = weight.Codes + (element >> 1);
                for (int i = 0; i < length; i += ICodeDot.Unit)
                {
                    float* x = arranged + start + i;
                    Vector256<uint> words = Vector256.Load(codes + (i >> 1)).AsUInt32();
                    Vector512<uint> both = Vector512.Create(words, words >>> 16);
                    Vector512<float> a = Vector512.ShuffleNative(levels, (both & lowest).AsInt32()) * Vector512.Load(x);
                    Vector512<float> b = Vector512.ShuffleNative(levels, ((both >>> 4) & lowest).AsInt32()) * Vector512.Load(x + 16);
                    a = Vector512.MultiplyAddEstimate(Vector512.ShuffleNative(levels, ((both >>> 8) & lowest).AsInt32()), Vector512.Load(x + 32), a);
                    b = Vector512.MultiplyAddEstimate(Vector512.ShuffleNative(levels, ((both >>> 12) & lowest).AsInt32()), Vector512.Load(x + 48), b);
                    sum = Vector512.MultiplyAddEstimate(a + b, Vector512.Create(ofBlocks[(offset + i) >> shift]), sum);
                }
            }

            target[row * stride] = Vector512.Sum(sum);
        }
    }
}
