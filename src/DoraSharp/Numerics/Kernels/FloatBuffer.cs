using System.Runtime.InteropServices;

namespace DoraSharp;

/// <summary>Memory for floats, with anything in it at first.</summary>
internal sealed unsafe class FloatBuffer : IDisposable
{
    private const int Alignment = 64;
    private float* memory;

    public FloatBuffer(long count)
    {
        Count = count;
        memory = (float*)NativeMemory.AlignedAlloc((nuint)(Math.Max(count, 1) * sizeof(float)), Alignment);
    }

    public long Count { get; }

    /// <summary>The first float.</summary>
    public float* Start => memory;

    /// <summary>Writes zeros.</summary>
    public void Clear() => NativeMemory.Clear(memory, (nuint)(Count * sizeof(float)));

    public void Dispose()
    {
        NativeMemory.AlignedFree(memory);
        memory = null;
    }
}
