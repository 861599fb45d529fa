using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DoraSharp;

/// <summary>A matrix [rows, columns] in the order in which <see cref="PanelKernel"/> reads it: [panels, rows, 16], with zeros after the last column.</summary>
internal sealed unsafe class Panels : IDisposable
{
    /// <summary>The columns of a panel: two vectors.</summary>
    public const int Width = 16;

    private const int Square = 8;
    private readonly FloatBuffer memory;

    /// <summary>Panels with anything in them, but for the zeros after the last column.</summary>
    public Panels(long rows, long columns)
    {
        Rows = rows;
        Columns = columns;
        Count = (int)((columns + Width - 1) / Width);
        memory = new(Count * rows * Width);
        if (columns % Width != 0)
        {
            memory.Clear();
        }
    }

    public long Rows { get; }

    public long Columns { get; }

    /// <summary>The number of panels.</summary>
    public int Count { get; }

    /// <summary>The panels of a matrix.</summary>
    public static Panels Of(float* matrix, long rows, long columns)
    {
        Panels panels = new(rows, columns);
        panels.Fill(matrix, rows);
        return panels;
    }

    /// <summary>The panels of a matrix that is stored transposed, [columns, rows].</summary>
    public static Panels OfTransposed(float* matrix, long rows, long columns)
    {
        Panels panels = new(rows, columns);
        for (int panel = 0; panel < panels.Count; panel++)
        {
            Transpose(matrix + (panel * Width * rows), (nint)rows, panels.WidthOf(panel), rows, panels.At(panel, 0), Width);
        }

        return panels;
    }

    /// <summary>A row of a panel.</summary>
    public float* At(int panel, long row) => memory.Start + (((panel * Rows) + row) * Width);

    /// <summary>The number of the matrix's columns in a panel.</summary>
    public int WidthOf(int panel) => (int)Math.Min(Width, Columns - (panel * Width));

    /// <summary>Writes zeros.</summary>
    public void Clear() => memory.Clear();

    /// <summary>Takes the first rows from a matrix [rows, columns].</summary>
    public void Fill(float* matrix, long rows)
    {
        for (int panel = 0; panel < Count; panel++)
        {
            int width = WidthOf(panel);
            float* source = matrix + (panel * Width);
            for (long row = 0; row < rows; row++)
            {
                new ReadOnlySpan<float>(source + (row * Columns), width).CopyTo(new(At(panel, row), width));
            }
        }
    }

    /// <summary>Writes the first rows as a matrix [rows, columns], times a factor.</summary>
    public void CopyTo(float* matrix, long rows, float factor)
    {
        for (int panel = 0; panel < Count; panel++)
        {
            int width = WidthOf(panel);
            for (long row = 0; row < rows; row++)
            {
                RowMath.Multiply(At(panel, row), factor, matrix + (row * Columns) + (panel * Width), width, adds: false);
            }
        }
    }

    /// <summary>Writes the matrix transposed, [columns, rows].</summary>
    /// <param name="matrix">Where the first element goes.</param>
    /// <param name="stride">From a column to the next one.</param>
    public void CopyTransposedTo(float* matrix, nint stride)
    {
        for (int panel = 0; panel < Count; panel++)
        {
            Transpose(At(panel, 0), Width, Rows, WidthOf(panel), matrix + (panel * Width * stride), stride);
        }
    }

    public void Dispose() => memory.Dispose();

    /// <summary>Writes a matrix [rows, columns] transposed.</summary>
    public static void Transpose(float* source, nint sourceStride, long rows, long columns, float* target, nint targetStride)
    {
        long wholeRows = Avx.IsSupported ? rows / Square * Square : 0;
        long wholeColumns = columns / Square * Square;
        for (long row = 0; row < wholeRows; row += Square)
        {
            for (long column = 0; column < wholeColumns; column += Square)
            {
                TransposeSquare(source + (row * sourceStride) + column, sourceStride, target + (column * targetStride) + row, targetStride);
            }
        }

        for (long row = 0; row < rows; row++)
        {
            for (long column = row < wholeRows ? wholeColumns : 0; column < columns; column++)
            {
                target[(column * targetStride) + row] = source[(row * sourceStride) + column];
            }
        }
    }

    private static void TransposeSquare(float* source, nint sourceStride, float* target, nint targetStride)
    {
        Vector256<float> r0 = Vector256.Load(source);
        Vector256<float> r1 = Vector256.Load(source + sourceStride);
        Vector256<float> r2 = Vector256.Load(source + (2 * sourceStride));
        Vector256<float> r3 = Vector256.Load(source + (3 * sourceStride));
        Vector256<float> r4 = Vector256.Load(source + (4 * sourceStride));
        Vector256<float> r5 = Vector256.Load(source + (5 * sourceStride));
        Vector256<float> r6 = Vector256.Load(source + (6 * sourceStride));
        Vector256<float> r7 = Vector256.Load(source + (7 * sourceStride));
        (r0, r1) = (Avx.UnpackLow(r0, r1), Avx.UnpackHigh(r0, r1));
        (r2, r3) = (Avx.UnpackLow(r2, r3), Avx.UnpackHigh(r2, r3));
        (r4, r5) = (Avx.UnpackLow(r4, r5), Avx.UnpackHigh(r4, r5));
        (r6, r7) = (Avx.UnpackLow(r6, r7), Avx.UnpackHigh(r6, r7));
        Store(r0, r2, r4, r6, target, targetStride);
        Store(r1, r3, r5, r7, target + (2 * targetStride), targetStride);

        static void Store(Vector256<float> a, Vector256<float> b, Vector256<float> c, Vector256<float> d, float* target, nint stride)
        {
            const byte Low = 0b01_00_01_00;
            const byte High = 0b11_10_11_10;
            (Vector256<float> first, Vector256<float> second) = (Avx.Shuffle(a, b, Low), Avx.Shuffle(a, b, High));
            (Vector256<float> third, Vector256<float> fourth) = (Avx.Shuffle(c, d, Low), Avx.Shuffle(c, d, High));
            Avx.Permute2x128(first, third, 0x20).Store(target);
            Avx.Permute2x128(second, fourth, 0x20).Store(target + stride);
            Avx.Permute2x128(first, third, 0x31).Store(target + (4 * stride));
            Avx.Permute2x128(second, fourth, 0x31).Store(target + (5 * stride));
        }
    }
}
