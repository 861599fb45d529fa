namespace DoraSharp.Benchmarks;

/// <summary>What was measured in one scenario, the methods in their catalog's order.</summary>
internal sealed record ScenarioResult(Scenario Scenario, IReadOnlyList<MethodResult> Methods)
{
    public MethodResult this[string method] => Methods.First(result => result.Method.Name == method);

    /// <summary>The quotient of two methods' medians.</summary>
    public double Ratio(string method, string to) => this[method].MedianMilliseconds / this[to].MedianMilliseconds;

    /// <summary>A method's peak memory less the floor's, in bytes.</summary>
    public long? PeakOverFloor(string method) => this[method].PeakBytes - this[MethodCatalog.Floor].PeakBytes;
}
