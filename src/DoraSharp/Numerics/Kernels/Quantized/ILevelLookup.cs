namespace DoraSharp;

/// <summary>Looks packed codes up in a table of sixteen values: what decoding comes down to once a block's scale is in the table.</summary>
internal unsafe interface ILevelLookup
{
    /// <summary>Decodes as many bytes as make whole steps; the rest is for <see cref="ScalarLookup"/>.</summary>
    /// <param name="codes">Two codes to a byte, the upper half first.</param>
    /// <param name="bytes">How many.</param>
    /// <param name="table">Sixteen values of 4 or 2 bytes.</param>
    /// <param name="target">Two values for each byte.</param>
    /// <returns>The bytes that were decoded.</returns>
    static abstract long Run<T>(byte* codes, long bytes, T* table, T* target)
        where T : unmanaged;
}
