using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>How finely the floating-point types round.</summary>
internal static class Rounding
{
    /// <summary>Half a unit in the last place, relative to the number: the most by which rounding once changes it.</summary>
    public static double HalfUnit(ScalarType type) => type switch
    {
        ScalarType.BFloat16 => 1.0 / 256,
        ScalarType.Float16 => 1.0 / 2048,
        ScalarType.Float32 => Math.ScaleB(1, -24),
        _ => throw new NotSupportedException($"The suite does not round to {type}."),
    };
}
