using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>The halves of bytes.</summary>
internal static class Nibbles
{
    /// <summary>Sixteen bytes, each in the lower half of its lane, as 32 halves of bytes in the order of the elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> InOrder(Vector256<ushort> bytes) =>
        ((bytes >>> 4) | ((bytes & Vector256.Create<ushort>(15)) << 8)).AsByte();

    /// <summary>Packs codes two to a byte, the first in the upper half.</summary>
    /// <param name="codes">Twice as many codes as bytes.</param>
    /// <param name="bytes">How many bytes.</param>
    /// <param name="packed">Gets the bytes.</param>
    public static unsafe void Pack(byte* codes, int bytes, byte* packed)
    {
        int i = 0;
        for (; i <= bytes - 16; i += 16)
        {
            Vector256<ushort> pairs = Vector256.Load(codes + (2 * i)).AsUInt16();
            Vector256<ushort> joined = ((pairs << 4) | (pairs >>> 8)) & Vector256.Create<ushort>(255);
            Vector128.Narrow(joined.GetLower(), joined.GetUpper()).Store(packed + i);
        }

        for (; i < bytes; i++)
        {
            packed[i] = (byte)((codes[2 * i] << 4) | codes[(2 * i) + 1]);
        }
    }
}
