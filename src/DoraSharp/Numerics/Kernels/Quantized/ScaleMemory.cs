using System.Numerics;

namespace DoraSharp;

/// <summary>The scales of a tensor's blocks: float32 numbers, or 8-bit codes of them (double quantization).</summary>
internal readonly unsafe struct ScaleMemory
{
    private readonly float* scales;
    private readonly byte* codes;
    private readonly float* map;
    private readonly float offset;
    private readonly int nestedShift;

    /// <summary>Plain scales.</summary>
    public ScaleMemory(float* scales) => this.scales = scales;

    /// <summary>Scales that are quantized themselves: scale b is the level of its code times the nested scale of b / block size, plus the offset.</summary>
    /// <param name="codes">A code for each block.</param>
    /// <param name="map">What each of the 256 codes stands for.</param>
    /// <param name="nestedScales">⌈blocks / block size⌉ scales of the scales.</param>
    /// <param name="offset">What is added to all.</param>
    /// <param name="nestedBlockSize">How many scales share a scale of their own, a power of two.</param>
    public ScaleMemory(byte* codes, float* map, float* nestedScales, float offset, int nestedBlockSize)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(BitOperations.IsPow2(nestedBlockSize), true);
        this.codes = codes;
        this.map = map;
        this.offset = offset;
        scales = nestedScales;
        nestedShift = BitOperations.Log2((uint)nestedBlockSize);
    }

    /// <summary>The scale of a block.</summary>
    public float this[long block] => codes is null ? scales[block] : (map[codes[block]] * scales[block >> nestedShift]) + offset;

    /// <summary>The scales of some blocks.</summary>
    /// <param name="first">The first block.</param>
    /// <param name="count">How many.</param>
    /// <param name="buffer">Room for them, which is not used where they are at hand.</param>
    public float* Read(long first, int count, float* buffer)
    {
        if (codes is null)
        {
            return scales + first;
        }

        long end = first + count;
        float* target = buffer;
        for (long block = first; block < end;)
        {
            long endOfNested = Math.Min(end, ((block >> nestedShift) + 1) << nestedShift);
            target = Decode(codes + block, codes + endOfNested, map, scales[block >> nestedShift], offset, target);
            block = endOfNested;
        }

        return buffer;
    }

    /// <summary>The scales that share a scale of their own, as nothing but loads and stores: there is one for every few dozens of elements.</summary>
    private static float* Decode(byte* codes, byte* end, float* map, float nested, float offset, float* target)
    {
        for (; codes < end; codes++, target++)
        {
            *target = (map[*codes] * nested) + offset;
        }

        return target;
    }
}
