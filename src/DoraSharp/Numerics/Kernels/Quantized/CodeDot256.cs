using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>AVX2: the levels of all upper halves of 32 bytes, then those of all lower halves.</summary>
internal readonly unsafe struct CodeDot256 : ICodeDot<CodeDot256>
{
    private readonly LevelPlanes planes;

    private CodeDot256(LevelPlanes planes) => this.planes = planes;

    public static CodeDot256 Create(in FourBitMemory weight) => new(new(weight.LowerLevels, weight.UpperLevels));

    public static void Arrange(float* x, long count, float* arranged)
    {
        for (long unit = 0; unit < count; unit += CodeUnits.Unit)
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

    [MethodImpl(MethodImplOptions.NoInlining)]
    public float Sum(byte* codes, float* arranged, int length, float* scales, int offset, int blockShift)
    {
        LevelPlanes levels = planes;
        Vector256<byte> lowHalf = Vector256.Create((byte)15);
        Vector256<float> sum = default;
        for (int i = 0; i < length; i += CodeUnits.Unit)
        {
            float* x = arranged + i;
            Vector256<byte> bytes = Vector256.Load(codes + (i >> 1));
            levels.Lookup((bytes.AsUInt16() >>> 4).AsByte() & lowHalf, out Vector256<float> a, out Vector256<float> b, out Vector256<float> c, out Vector256<float> d);
            Vector256<float> left = a * Vector256.Load(x);
            Vector256<float> right = b * Vector256.Load(x + 8);
            left = Vector256.MultiplyAddEstimate(c, Vector256.Load(x + 16), left);
            right = Vector256.MultiplyAddEstimate(d, Vector256.Load(x + 24), right);
            levels.Lookup(bytes & lowHalf, out a, out b, out c, out d);
            left = Vector256.MultiplyAddEstimate(a, Vector256.Load(x + 32), left);
            right = Vector256.MultiplyAddEstimate(b, Vector256.Load(x + 40), right);
            left = Vector256.MultiplyAddEstimate(c, Vector256.Load(x + 48), left);
            right = Vector256.MultiplyAddEstimate(d, Vector256.Load(x + 56), right);
            sum = Vector256.MultiplyAddEstimate(left + right, Vector256.Create(scales[(offset + i) >> blockShift]), sum);
        }

        return Vector256.Sum(sum);
    }
}
