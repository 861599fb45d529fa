namespace DoraSharp;

/// <summary>What optimizers' settings may be; each check gives the value back.</summary>
internal static class SettingRange
{
    /// <exception cref="ArgumentOutOfRangeException">The value is negative or not finite.</exception>
    public static double NotNegative(double value, string name) =>
        double.IsFinite(value) && value >= 0 ? value : throw new ArgumentOutOfRangeException(name, value, $"{name} must be a finite number, 0 or more.");

    /// <exception cref="ArgumentOutOfRangeException">The value is negative, or 1 or more.</exception>
    public static double Share(double value, string name) =>
        value is >= 0 and < 1 ? value : throw new ArgumentOutOfRangeException(name, value, $"{name} must be at least 0 and below 1.");
}
