using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>The scenarios of the short and of the full run.</summary>
internal static class ScenarioGrid
{
    /// <summary>The targets' shapes, the slowest last: what does not fit into the time is left out from there.</summary>
    public static IReadOnlyList<Scenario> Short { get; } =
    [
        Eval(new(2048, 2048, 1, 16)),
        Eval(new(4096, 4096, 1, 16)),
        Eval(new(1024, 1024, 512, 16)),
        Eval(new(2048, 2048, 512, 16)),
        Train(new(256, 256, 512, 16)),
        Train(new(256, 256, 2048, 16)),
        Train(new(1024, 1024, 1, 16)),
        Train(new(2048, 2048, 1, 16)),
        Train(new(4096, 4096, 1, 16)),
        Train(new(1024, 1024, 128, 16)),
        Train(new(2048, 2048, 128, 16)),
        Train(new(1024, 1024, 512, 8)),
        Train(new(1024, 1024, 512, 16)),
        Train(new(2048, 2048, 512, 16)),
        Train(new(1024, 1024, 512, 16), dropout: .05),
        Train(new(2048, 2048, 512, 16), dropout: .05),
        new(new(1024, 1024, 512, 16), ScalarType.Float32, StepMode.Accumulate8, 0),
        Train(new(1024, 1024, 512, 16), ScalarType.BFloat16),
        Train(new(4096, 4096, 128, 16)),
        Train(new(2048, 5632, 512, 16)),
        Train(new(4096, 4096, 512, 16)),
    ];

    /// <summary>The shapes of the GPU's targets.</summary>
    public static IReadOnlyList<Scenario> ShortOnGpu { get; } =
    [
        .. from dropout in new[] { 0, .05 }
           from rank in new[] { 16, 64, 384 }
           select Train(new(4096, 4096, 4096, rank), ScalarType.BFloat16, dropout),
        new(new(4096, 4096, 4096, 16), ScalarType.BFloat16, StepMode.Accumulate8, 0),
        new(new(4096, 4096, 1, 16), ScalarType.BFloat16, StepMode.Eval, 0),
        Train(new(4096, 4096, 4096, 16)),
    ];

    /// <summary>Everything. Dropout does nothing in evaluation, and does not vary there.</summary>
    public static IReadOnlyList<Scenario> Full { get; } =
    [
        .. from dtype in Names.DTypes
           from mode in Names.Modes
           from dropout in mode == StepMode.Eval ? [0] : new[] { 0, .05 }
           from size in new (long In, long Out)[] { (256, 256), (1024, 1024), (2048, 2048), (2048, 5632), (4096, 4096) }
           from tokens in new[] { 1, 128, 512, 2048 }
           from rank in new[] { 8, 16, 64 }
           select new Scenario(new(size.In, size.Out, tokens, rank), dtype, mode, dropout),
    ];

    /// <summary>The scenarios of a run.</summary>
    public static IReadOnlyList<Scenario> Of(RunSettings settings) =>
        !settings.IsShort ? Full : settings.IsOnGpu ? ShortOnGpu : Short;

    private static Scenario Eval(LayerShape shape) => new(shape, ScalarType.Float32, StepMode.Eval, 0);

    private static Scenario Train(LayerShape shape, ScalarType dtype = ScalarType.Float32, double dropout = 0) =>
        new(shape, dtype, StepMode.Train, dropout);
}
