namespace DoraSharp.Benchmarks;

/// <summary>The targets of 4-bit weights, for two cores.</summary>
internal static class QuantizationTargets
{
    /// <summary>Each target in each row that it speaks of.</summary>
    public static IEnumerable<TargetOutcome> Judge(IEnumerable<QuantizationRow> rows) => rows.SelectMany(Judge).OfType<TargetOutcome>();

    private static IEnumerable<TargetOutcome?> Judge(QuantizationRow row)
    {
        string setting = $"{row.In}→{row.Out}, T {row.Tokens}, {row.DType}";
        bool isFloat = row.DType == Names.Of(TorchSharp.torch.ScalarType.Float32);
        switch (row.Method)
        {
            case DecodeCosts.Method when isFloat:
                yield return Of("decode ≥ .80 × fill's bandwidth", row.RatioFill, .8, isMinimum: true);
                break;
            case ProductCosts.Method when row.Tokens == 1 && isFloat:
                yield return Of("one token ≤ .25 × dense", row.RatioDense, .25);
                break;
            case QuantizingCosts.Method when isFloat:
                yield return Of("quantizing ≤ 150 ms", row.MedianMs, 150);
                yield return Of("bits per parameter ≤ 4.13", row.BitsPerParameter, 4.13);
                break;
            case AdapterCosts.QuantizedDora:
                yield return Of($"QDoRA ≤ {Bound(row):f2} × DoRA", row.RatioDense, Bound(row));
                yield return row.Tokens >= 512 ? Of("QDoRA ≤ 1.2 floors", row.RatioFloor, 1.2) : null;
                break;
        }

        TargetOutcome? Of(string target, double? figure, double bound, bool isMinimum = false) =>
            figure is { } value ? new(target, setting, value, bound, isMinimum) : null;
    }

    private static double Bound(QuantizationRow row) => row.Tokens >= 512 ? 1.08 : 1.25;
}
