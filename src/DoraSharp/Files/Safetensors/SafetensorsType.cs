using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>An element type of the safetensors format that TorchSharp has too.</summary>
/// <param name="Name">Its name in a header.</param>
/// <param name="DType">Its TorchSharp type.</param>
/// <param name="Size">Bytes per element.</param>
internal sealed record SafetensorsType(string Name, ScalarType DType, int Size)
{
    /// <summary>All of them, in the order in which the reference library ranks types when it sorts tensors: a file begins with the last ones.</summary>
    public static IReadOnlyList<SafetensorsType> All { get; } =
    [
        new("BOOL", ScalarType.Bool, 1),
        new("U8", ScalarType.Byte, 1),
        new("I8", ScalarType.Int8, 1),
        new("I16", ScalarType.Int16, 2),
        new("F16", ScalarType.Float16, 2),
        new("BF16", ScalarType.BFloat16, 2),
        new("I32", ScalarType.Int32, 4),
        new("F32", ScalarType.Float32, 4),
        new("C64", ScalarType.ComplexFloat32, 8),
        new("F64", ScalarType.Float64, 8),
        new("I64", ScalarType.Int64, 8),
    ];

    /// <summary>The position in <see cref="All"/> of a TorchSharp type, or -1 where the format has no such type.</summary>
    public static int RankOf(ScalarType dtype)
    {
        for (int rank = 0; rank < All.Count; rank++)
        {
            if (All[rank].DType == dtype)
            {
                return rank;
            }
        }

        return -1;
    }
}
