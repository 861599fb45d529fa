namespace DoraSharp;

/// <summary>
/// The products of rows of packed weights with one vector, straight from the codes: levels times numbers, block by block, times
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

    /// <summary>Σ w_i·x_i of some rows.</summary>
    /// <param name="weight">The weight.</param>
    /// <param name="width">The elements of a row.</param>
    /// <param name="first">The first row.</param>
    /// <param name="end">The end of the rows.</param>
    /// <param name="arranged">What <see cref="Arrange"/> gave.</param>
    /// <param name="target">Where row 0's sum would go.</param>
    /// <param name="stride">From a row's sum to the next one's.</param>
    static abstract void Run(in FourBitMemory weight, long width, long first, long end, float* arranged, float* target, long stride);
}
