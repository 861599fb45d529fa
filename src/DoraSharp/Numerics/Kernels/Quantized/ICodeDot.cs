namespace DoraSharp;

/// <summary>
/// The product of a row of packed weights with one vector, straight from the codes: levels times numbers, block by block, times
/// the block's scale.
/// </summary>
/// <remarks>Rows have to begin and end with a unit, and a unit must not be in two blocks.</remarks>
internal unsafe interface ICodeDot
{
    /// <summary>The elements of a unit.</summary>
    const int Unit = 64;

    /// <summary>The elements whose scales are read at once, a multiple of the unit.</summary>
    const int Piece = 4096;

    /// <summary>Puts a vector in the order in which the lookup gives the levels.</summary>
    /// <param name="x">[count].</param>
    /// <param name="count">A multiple of <see cref="Unit"/>.</param>
    /// <param name="arranged">Gets [count].</param>
    static abstract void Arrange(float* x, long count, float* arranged);

    /// <summary>Σ w_i·x_i.</summary>
    /// <param name="weight">The weight.</param>
    /// <param name="first">The row's first element.</param>
    /// <param name="count">The row's elements.</param>
    /// <param name="arranged">What <see cref="Arrange"/> gave.</param>
    static abstract float Dot(in FourBitMemory weight, long first, long count, float* arranged);
}
