using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>AVX2: the levels of all upper halves of 32 bytes, then those of all lower halves.</summary>
internal readonly unsafe struct CodeDot256 : ICodeDot
{
    public static void Arrange(float* x, long count, float* arranged)
    {
        for (long unit = 0; unit < count; unit += ICodeDot.Unit)
        {
            for (int half = 0; half < 2; half++)
            {
                for (int k = 0; k < 32; k++)
                {
                    // The byte that LevelPlanes.Lookup has in lane k % 8 of its vector k / 8.
                    int place = (k / 8 * 4) + (k % 4) + (k % 8 / 4 * 16);
                    arranged[unit + (half * 32) + k] = x[unit + (2 * place) + half];
                }
            }
        }
    }

    public static void Run(in FourBitMemory weight, long width, long first, long end, float* arranged, float* target, long stride)
    {
        LevelPlanes planes = new(weight.LowerLevels, weight.UpperLevels);
        ScaleMemory scales = weight.Scales;
        int shift = weight.BlockShift;
        float* buffer = stackalloc float[ICodeDot.Piece / ICodeDot.Unit];
        Vector256<byte> lowHalf = Vector256.Create((byte)15);
        for (long row = first; row < end; row++)
        {
            Vector256<float> sum = default;
            for (long start = 0; start < width; start += ICodeDot.Piece)
            {
                int length = (int)Math.Min(ICodeDot.Piece, width - start);
                long element = (row * width) + start;
                long block = element >> shift;
                int offset = (int)(element - (block << shift));
                float* ofBlocks = scales.Read(block, ((offset + length - 1) >> shift) + 1, buffer);
                byte* codes = weight.Codes + (element >> 1);
                float* x = arranged + start;
                for (int i = 0; i < length; i += ICodeDot.Unit)
                {
                    Vector256<byte> bytes = Vector256.Load(codes + (i >> 1));
                    planes.Lookup((bytes.AsUInt16() >>> 4).AsByte() & lowHalf, out Vector256<float> a, out Vector256<float> b, out Vector256<float> c, out Vector256<float> d);
                    Vector256<float> left = a * Vector256.Load(x + i);
                    Vector256<float> right = b * Vector256.Load(x + i + 8);
                    left = Vector256.MultiplyAddEstimate(c, Vector256.Load(x + i + 16), left);
                    right = Vector256.MultiplyAddEstimate(d, Vector256.Load(x + i + 24), right);
                    planes.Lookup(bytes & lowHalf, out a, out b, out c, out d);
                    left = Vector256.MultiplyAddEstimate(a, Vector256.Load(x + i + 32), left);
                    right = Vector256.MultiplyAddEstimate(b, Vector256.Load(x + i + 40), right);
                    left = Vector256.MultiplyAddEstimate(c, Vector256.Load(x + i + 48), left);
                    right = Vector256.MultiplyAddEstimate(d, Vector256.Load(x + i + 56), right);
                    sum = Vector256.MultiplyAddEstimate(left + right, Vector256.Create(ofBlocks[(offset + i) >> shift]), sum);
                }
            }

            target[row * stride] = Vector256.Sum(sum);
        }
    }
}
