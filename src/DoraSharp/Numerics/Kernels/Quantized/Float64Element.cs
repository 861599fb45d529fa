using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>float64, of float32 values.</summary>
internal readonly unsafe struct Float64Element : IDecodedElement<double>
{
    public static void Round(Vector256<float> lower, Vector256<float> upper, double* table)
    {
        Store(Vector256.Widen(lower), table);
        Store(Vector256.Widen(upper), table + 8);
    }

    private static void Store((Vector256<double> Lower, Vector256<double> Upper) values, double* table)
    {
        values.Lower.Store(table);
        values.Upper.Store(table + 4);
    }
}
