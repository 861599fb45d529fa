using System.Runtime.Intrinsics;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Numbers of 16 bits as float32, which holds all of them.</summary>
internal static unsafe class Widened
{
    private static readonly int Lanes = Vector256<ushort>.Count;

    /// <summary>The float32 values of some elements: in their own memory, or in a buffer.</summary>
    /// <param name="source">float32, bfloat16 or float16.</param>
    /// <param name="dtype">Which of them.</param>
    /// <param name="first">The first element.</param>
    /// <param name="count">How many.</param>
    /// <param name="buffer">Room for them.</param>
    public static float* Load(void* source, ScalarType dtype, long first, int count, float* buffer)
    {
        switch (dtype)
        {
            case ScalarType.Float32:
                return (float*)source + first;
            case ScalarType.BFloat16:
                FromBFloat16((ushort*)source + first, count, buffer);
                return buffer;
            case ScalarType.Float16:
                FromFloat16((ushort*)source + first, count, buffer);
                return buffer;
            default:
                throw new ArgumentException($"Only float32, bfloat16 and float16 are read here, not {dtype}.", nameof(dtype));
        }
    }

    private static void FromBFloat16(ushort* source, int count, float* target)
    {
        int i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            (Vector256<uint> lower, Vector256<uint> upper) = Vector256.Widen(Vector256.Load(source + i));
            (lower << 16).AsSingle().Store(target + i);
            (upper << 16).AsSingle().Store(target + i + 8);
        }

        for (; i < count; i++)
        {
            target[i] = BitConverter.UInt32BitsToSingle((uint)source[i] << 16);
        }
    }

    private static void FromFloat16(ushort* source, int count, float* target)
    {
        int i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            (Vector256<uint> lower, Vector256<uint> upper) = Vector256.Widen(Vector256.Load(source + i));
            FromFloat16(lower).Store(target + i);
            FromFloat16(upper).Store(target + i + 8);
        }

        for (; i < count; i++)
        {
            target[i] = (float)BitConverter.UInt16BitsToHalf(source[i]);
        }
    }

    private static Vector256<float> FromFloat16(Vector256<uint> bits)
    {
        // The exponent's bias is smaller by 112; a multiplication corrects it for denormal numbers, too.
        Vector256<uint> size = (bits & Vector256.Create(0x7FFFu)) << 13;
        Vector256<uint> number = (size.AsSingle() * Vector256.Create(5.192296858534828e33f)).AsUInt32();
        Vector256<uint> infinite = Vector256.GreaterThanOrEqual(size, Vector256.Create(0x7C00u << 13)) & Vector256.Create(0x7F800000u);
        return (number | infinite | ((bits & Vector256.Create(0x8000u)) << 16)).AsSingle();
    }
}
