using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>
/// Random bits by position: whether element i of a mask is kept is a function of the seed and i alone, so that a mask is never stored, and
/// comes out the same in any order and on any number of threads.
/// </summary>
/// <remarks>
/// A multiply-xorshift mixer of 32 bits with 64 bits of key, one half of which enters between the rounds: seeds give
/// functions, not shifted pieces of one sequence. Not for cryptography.
/// </remarks>
internal readonly struct DropoutBits
{
    /// <summary>The elements of a step.</summary>
    public const int Step = 8;

    private readonly ulong seed;
    private readonly int threshold;

    /// <param name="seed">What the mask depends on.</param>
    /// <param name="p">The probability that an element is dropped, at least 0 and below 1, to 32 binary places.</param>
    public DropoutBits(ulong seed, double p)
    {
        this.seed = seed;

        // Processors compare signed numbers faster: all is shifted down by 2^31.
        threshold = (int)((uint)Math.Min(Math.Round(p * 4294967296.0), uint.MaxValue) ^ 0x80000000);
    }

    /// <summary>All ones for each of the elements from <paramref name="first"/> on that is kept, zero for the others.</summary>
    /// <param name="first">A multiple of <see cref="Step"/>.</param>
    public Vector256<int> Kept(long first) => From(first).Kept(first);

    /// <summary>The same for all elements up to the next multiple of 2^32, where the key changes.</summary>
    public Keyed From(long first)
    {
        ulong key = Mix(seed + ((ulong)(first >> 32) * 0x9E3779B97F4A7C15));
        return new(Vector256.Create((uint)key), Vector256.Create((uint)(key >> 32)), Vector256.Create(threshold));
    }

    /// <summary>Steele, Lea and Flood's SplitMix64 finalizer.</summary>
    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    /// <summary>The bits of 2^32 elements.</summary>
    internal readonly struct Keyed(Vector256<uint> low, Vector256<uint> high, Vector256<int> threshold)
    {
        /// <inheritdoc cref="DropoutBits.Kept"/>
        public Vector256<int> Kept(long first)
        {
            Vector256<uint> x = (Vector256.Create((uint)first) + Vector256<uint>.Indices) ^ low;
            x ^= x >>> 16;
            x *= 0x7FEB352D;
            x += high;
            x ^= x >>> 15;
            x *= 0x846CA68B;
            x ^= x >>> 16;
            return ~Vector256.GreaterThan(threshold, x.AsInt32());
        }
    }
}
