namespace DoraSharp;

/// <summary>One byte at a time.</summary>
internal readonly unsafe struct ScalarLookup : ILevelLookup<ScalarLookup>
{
    public static ScalarLookup Create(in FourBitMemory weight) => default;

    public long Run<T>(byte* codes, long bytes, T* table, float scale, float gain, T* target)
        where T : unmanaged
    {
        Run(codes, bytes, table, target);
        return bytes;
    }

    /// <summary>Decodes all bytes.</summary>
    public static void Run<T>(byte* codes, long bytes, T* table, T* target)
        where T : unmanaged
    {
        for (long i = 0; i < bytes; i++)
        {
            target[2 * i] = table[codes[i] >> 4];
            target[(2 * i) + 1] = table[codes[i] & 15];
        }
    }
}
