using System.Globalization;

namespace DoraSharp.Benchmarks;

/// <summary>How figures are written.</summary>
internal static class Figures
{
    /// <summary>What stands for a figure that was not measured.</summary>
    public const string None = "–";

    /// <summary>Three decimals.</summary>
    public static string Three(double? value) => value?.ToString("f3", CultureInfo.InvariantCulture) ?? None;

    /// <summary>Two decimals.</summary>
    public static string Two(double? value) => value?.ToString("f2", CultureInfo.InvariantCulture) ?? None;

    /// <summary>A share in per cent, one decimal.</summary>
    public static string Percent(double share) => (share * 100).ToString("f1", CultureInfo.InvariantCulture);

    /// <summary>Bytes in whole KiB.</summary>
    public static string KiB(long? bytes) => Whole(bytes, 1 << 10);

    /// <summary>Bytes in whole MiB.</summary>
    public static string MiB(long? bytes) => Whole(bytes, 1 << 20);

    private static string Whole(long? bytes, int unit) => bytes is { } b ? Math.Round((double)b / unit).ToString("f0", CultureInfo.InvariantCulture) : None;
}
