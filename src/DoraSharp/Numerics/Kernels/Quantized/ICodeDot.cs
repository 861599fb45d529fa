namespace DoraSharp;

/// <summary>
/// The products of pieces of packed rows with one vector, straight from the codes: levels times numbers, block by block, times
/// the block's scale.
/// </summary>
/// <remarks>Rows have to begin and end with a unit, and a unit must not be in two blocks.</remarks>
/// <typeparam name="TSelf">The implementation.</typeparam>
internal unsafe interface ICodeDot<TSelf>
    where TSelf : ICodeDot<TSelf>
{
    /// <summary>What the products with a weight need of it.</summary>
    static abstract TSelf Create(in FourBitMemory weight);

    /// <summary>Puts a vector in the order in which the levels come.</summary>
    /// <param name="x">[count].</param>
    /// <param name="count">A multiple of <see cref="CodeUnits.Unit"/>.</param>
    /// <param name="arranged">Gets [count].</param>
    static abstract void Arrange(float* x, long count, float* arranged);

    /// <summary>Σ w_i·x_i of a piece of a row. Not inlined: beside a call the loop could keep nothing in registers.</summary>
    /// <param name="codes">The piece's first byte.</param>
    /// <param name="arranged">The piece of what <see cref="Arrange"/> gave.</param>
    /// <param name="length">The piece's elements, a multiple of the unit.</param>
    /// <param name="scales">That of the piece's first block, and those after it.</param>
    /// <param name="offset">The place of the piece's first element in its block.</param>
    /// <param name="blockShift">The binary logarithm of the block size.</param>
    float Sum(byte* codes, float* arranged, int length, float* scales, int offset, int blockShift);
}
