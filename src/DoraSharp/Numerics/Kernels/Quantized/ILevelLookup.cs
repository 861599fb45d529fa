namespace DoraSharp;

/// <summary>Looks packed codes up: what decoding comes down to.</summary>
/// <typeparam name="TSelf">The type itself.</typeparam>
internal unsafe interface ILevelLookup<TSelf>
    where TSelf : ILevelLookup<TSelf>
{
    /// <summary>Prepares for a weight.</summary>
    static abstract TSelf Create(in FourBitMemory weight);

    /// <summary>Decodes as many bytes as make whole steps; the rest is for <see cref="ScalarLookup"/>.</summary>
    /// <param name="codes">Two codes to a byte, the upper half first.</param>
    /// <param name="bytes">How many.</param>
    /// <param name="table">The sixteen values that the codes stand for here.</param>
    /// <param name="scale">What the levels were multiplied by first, in float32, to give the values.</param>
    /// <param name="gain">What they were multiplied by then.</param>
    /// <param name="target">Two values for each byte.</param>
    /// <returns>The bytes that were decoded.</returns>
    long Run<T>(byte* codes, long bytes, T* table, float scale, float gain, T* target)
        where T : unmanaged;
}
