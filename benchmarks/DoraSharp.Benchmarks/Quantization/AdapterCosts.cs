using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>Training steps of adapters over a quantized weight, beside the same adapters over the dense weight and the frozen dense layer.</summary>
internal static class AdapterCosts
{
    public const string QuantizedLora = "qlora";
    public const string QuantizedDora = "qdora";
    private const long Size = 2048;
    private const int Rank = 16;

    /// <summary>All that takes part, and what stands for the same with a dense weight.</summary>
    private static readonly (MethodDefinition Definition, string Dense)[] Methods =
    [
        (MethodCatalog.Named(MethodCatalog.Floor), MethodCatalog.Floor),
        (MethodCatalog.Named(MethodCatalog.Lora), MethodCatalog.Lora),
        (MethodCatalog.Named(MethodCatalog.Dora), MethodCatalog.Dora),
        (new(QuantizedLora, QuantizedAdapter.Lora, ArithmeticLimit.Lora), MethodCatalog.Lora),
        (new(QuantizedDora, QuantizedAdapter.Dora, ArithmeticLimit.Dora), MethodCatalog.Dora),
    ];

    public static MethodDefinition Named(string name) => Methods.First(method => method.Definition.Name == name).Definition;

    public static IEnumerable<QuantizationRow> Measure(RunSettings settings)
    {
        long[] tokens = settings.IsShort ? [512, 128] : [2048, 512, 128, 1];
        Dictionary<string, long?> peaks = Methods.ToDictionary(method => method.Definition.Name, method => settings.MeasuresPeak ? QuantizedPeakCommand.Ask(method.Definition.Name, settings) : null);
        return tokens.SelectMany(count => Measure(settings, new(new(Size, Size, count, Rank), ScalarType.Float32, StepMode.Train, 0), peaks));
    }

    private static IEnumerable<QuantizationRow> Measure(RunSettings settings, Scenario scenario, Dictionary<string, long?> peaks)
    {
        using Problem problem = new(scenario, settings.Device);
        Method[] methods = [.. Methods.Select(method => method.Definition.Create(problem))];
        try
        {
            long?[] saved = [.. methods.Select(method => SavedActivations.Measure(method, problem))];
            Samples[] times = Turns.Time(settings, [.. methods.Select(method => new Step(method, problem, settings.Clock)).Select(step => (Action)(() => step.Run()))]);
            Dictionary<string, double> medians = Methods.Select((method, index) => (method.Definition.Name, times[index].Median)).ToDictionary();
            return [.. Methods.Select((method, index) => Row(method.Definition.Name, method.Dense, index))];

            QuantizationRow Row(string name, string dense, int index) => new(
                Size, Size, scenario.Shape.Tokens, Rank, 0, Names.Of(scenario.DType), name, Names.Of(scenario.Mode), medians[name],
                medians[name] / medians[MethodCatalog.Floor], saved[index], peaks[name])
            {
                RatioDense = medians[name] / medians[dense],
            };
        }
        finally
        {
            Array.ForEach(methods, static method => method.Dispose());
        }
    }
}
