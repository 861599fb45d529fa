namespace DoraSharp;

/// <summary>The fields of the objects in a <c>LoraConfig</c> that set how adapters start.</summary>
internal static class InitializationFields
{
    private static readonly PeftNames<CordaMethod> CordaMethods = new(("ipm", CordaMethod.InstructionPreviewed), ("kpm", CordaMethod.KnowledgePreserved));

    private static readonly PeftNames<LoraGaDirection> Directions = new(
        ("ArB2r", LoraGaDirection.ArB2r), ("A2rBr", LoraGaDirection.A2rBr), ("ArBr", LoraGaDirection.ArBr), ("random", LoraGaDirection.Random));

    private static readonly PeftNames<LoraGaScale> Scales = new(
        ("stable", LoraGaScale.Stable), ("weight_svd", LoraGaScale.WeightSvd), ("gd_scale", LoraGaScale.GradientDescent), ("unit", LoraGaScale.Unit));

    public static IReadOnlyList<PeftField<CordaOptions>> Corda { get; } =
    [
        PeftField<CordaOptions>.Only("cache_file", null),
        new("corda_method", static o => CordaMethods.Of(o.Method), static (o, v) => o with { Method = CordaMethods.Read(v) }),
        PeftField<CordaOptions>.Only("covariance_file", null),
        PeftField<CordaOptions>.Only("prune_temporary_fields", true),
        PeftField<CordaOptions>.Only("use_float16_for_covariance", false),
        PeftField<CordaOptions>.Only("verbose", false),
    ];

    public static IReadOnlyList<PeftField<EvaOptions>> Eva { get; } =
    [
        new("adjust_scaling_factors", static o => o.AdjustScalingFactors, static (o, v) => o with { AdjustScalingFactors = v.Boolean() }),
        new("label_mask_value", static o => o.LabelMaskValue, static (o, v) => o with { LabelMaskValue = v.Whole() }),
        new("rho", static o => PythonJson.Float(o.Rho), static (o, v) => o with { Rho = v.Number() }),
        new("tau", static o => PythonJson.Float(o.Tau), static (o, v) => o with { Tau = v.Number() }),
        new("use_label_mask", static o => o.UseLabelMask, static (o, v) => o with { UseLabelMask = v.Boolean() }),
        new("whiten", static o => o.Whiten, static (o, v) => o with { Whiten = v.Boolean() }),
    ];

    public static IReadOnlyList<PeftField<LoftqOptions>> Loftq { get; } =
    [
        new("loftq_bits", static o => o.Bits, static (o, v) => o with { Bits = v.Whole() }),
        new("loftq_iter", static o => o.Iterations, static (o, v) => o with { Iterations = v.Whole() }),
    ];

    public static IReadOnlyList<PeftField<LoraGaOptions>> LoraGa { get; } =
    [
        new("direction", static o => Directions.Of(o.Direction), static (o, v) => o with { Direction = Directions.Read(v) }),
        new("scale", static o => Scales.Of(o.Scale), static (o, v) => o with { Scale = Scales.Read(v) }),
        new("stable_gamma", static o => PythonJson.Number(o.StableGamma), static (o, v) => o with { StableGamma = v.Number() }),
    ];
}
