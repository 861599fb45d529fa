using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>The layers' targets.</summary>
internal static class LayerTargets
{
    /// <summary>What the autograd graph's own nodes may take besides activations.</summary>
    private const double GraphBytes = 16 << 10;

    /// <summary>The vectors of [o] that DoRA's gain may keep.</summary>
    private const int GainVectors = 4;

    private static readonly IReadOnlyList<LayerTarget> OnTwoCores =
    [
        new("LoRA ≤ its limit + .03 floors", s => IsLarge(s, 0), OverFloor(MethodCatalog.Lora), s => ArithmeticLimit.Lora(s) + .03),
        new("DoRA ≤ its limit + .05 floors", s => IsLarge(s, 0), OverFloor(MethodCatalog.Dora), s => ArithmeticLimit.Dora(s) + .05),
        new("PEFT's DoRA ≥ 1.4 × ours", s => IsLarge(s, 0), PeftOverOurs, _ => 1.4, IsMinimum: true),
        new("LoRA, dropout .05 ≤ its limit + .08 floors", s => IsLarge(s, .05), OverFloor(MethodCatalog.Lora), s => ArithmeticLimit.Lora(s) + .08),
        new("DoRA, dropout .05 ≤ its limit + .10 floors", s => IsLarge(s, .05), OverFloor(MethodCatalog.Dora), s => ArithmeticLimit.Dora(s) + .10),
        new("PEFT's DoRA, dropout .05 ≥ 2.2 × ours", s => IsLarge(s, .05), PeftOverOurs, _ => 2.2, IsMinimum: true),
        new("DoRA, T = 128 ≤ its limit + .08 floors", s => IsPlainTraining(s) && IsWide(s, 1024) && s.Shape is { Tokens: 128, Rank: <= 16 }, OverFloor(MethodCatalog.Dora), s => ArithmeticLimit.Dora(s) + .08),
        new("DoRA, T = 1 ≤ 1.3 × LoRA", s => IsPlainTraining(s) && IsWide(s, 1024) && s.Shape.Tokens == 1, DoraOverLora, _ => 1.3),
        new("DoRA, 8 accumulated ≤ 1.02 × LoRA", s => s is { Mode: StepMode.Accumulate8, DType: ScalarType.Float32 } && IsWide(s, 1024) && s.Shape.Tokens >= 512, DoraOverLora, _ => 1.02),
        new("LoRA, bfloat16 ≤ its limit + .15 floors", IsLargeBFloat16, OverFloor(MethodCatalog.Lora), s => ArithmeticLimit.Lora(s) + .15),
        new("DoRA, bfloat16 ≤ 1.10 × LoRA", IsLargeBFloat16, DoraOverLora, _ => 1.10),
        new("LoRA saves [T, r] besides x (KiB)", IsPlainTraining, result => SavedKiB(result, MethodCatalog.Lora), s => LoraKiB(s)),
        new("DoRA saves LoRA's + one [T, o] (KiB)", IsPlainTraining, result => SavedKiB(result, MethodCatalog.Dora), s => LoraKiB(s) + ((s.Shape.Tokens + GainVectors) * s.Shape.Out * sizeof(float) / 1024.0)),
        new("DoRA forward ≤ 1.05 × LoRA", s => s.Mode == StepMode.Eval && IsWide(s, 1024) && s.Shape.Tokens > 1, DoraOverLora, _ => 1.05),
        new("DoRA forward, T = 1 ≤ 1.10 floors", s => s.Mode == StepMode.Eval && IsWide(s, 2048) && s.Shape.Tokens == 1, OverFloor(MethodCatalog.Dora), _ => 1.10),
        new("merged forward = the floor (within 3 %)", s => s.Mode == StepMode.Eval, OverFloor(MethodCatalog.Merged), _ => 1.03),
        new("LoRA, 256 → 256 ≤ 1.35 floors", IsSmall, OverFloor(MethodCatalog.Lora), _ => 1.35),
        new("DoRA, 256 → 256 ≤ 1.5 floors", IsSmall, OverFloor(MethodCatalog.Dora), _ => 1.5),
    ];

    private static readonly IReadOnlyList<LayerTarget> OnAGpu =
    [
        new("PEFT's DoRA, bfloat16, T = 4096 ≥ 2 × ours", s => s is { Mode: StepMode.Train, DType: ScalarType.BFloat16, Shape.Tokens: >= 4096 } && IsWide(s, 4096), PeftOverOurs, _ => 2, IsMinimum: true),
    ];

    /// <summary>Each target in each scenario in which it applies.</summary>
    public static IEnumerable<TargetOutcome> Judge(IReadOnlyList<ScenarioResult> results, RunSettings settings) =>
        (settings.IsOnGpu ? OnAGpu : OnTwoCores).SelectMany(target => results.Select(target.Judge)).OfType<TargetOutcome>();

    private static Func<ScenarioResult, double?> OverFloor(string method) => result => result.Ratio(method, MethodCatalog.Floor);

    private static double? DoraOverLora(ScenarioResult result) => result.Ratio(MethodCatalog.Dora, MethodCatalog.Lora);

    private static double? PeftOverOurs(ScenarioResult result) => result.Ratio(MethodCatalog.PeftDora, MethodCatalog.Dora);

    private static double? SavedKiB(ScenarioResult result, string method) => result[method].SavedBytes / 1024.0;

    private static double LoraKiB(Scenario scenario) => ((scenario.Shape.Tokens * scenario.Shape.Rank * sizeof(float)) + GraphBytes) / 1024;

    private static bool IsWide(Scenario scenario, long features) => Math.Min(scenario.Shape.In, scenario.Shape.Out) >= features;

    private static bool IsPlainTraining(Scenario scenario) => scenario is { Mode: StepMode.Train, DType: ScalarType.Float32, Dropout: 0 };

    private static bool IsLarge(Scenario scenario, double dropout) =>
        scenario is { Mode: StepMode.Train, DType: ScalarType.Float32, Shape: { Tokens: >= 512, Rank: <= 16 } } && scenario.Dropout == dropout && IsWide(scenario, 1024);

    private static bool IsLargeBFloat16(Scenario scenario) =>
        scenario is { Mode: StepMode.Train, DType: ScalarType.BFloat16, Dropout: 0, Shape: { Tokens: >= 512, Rank: <= 16 } } && IsWide(scenario, 1024);

    private static bool IsSmall(Scenario scenario) => IsPlainTraining(scenario) && scenario.Shape is { In: 256, Out: 256, Tokens: >= 512, Rank: <= 16 };
}
