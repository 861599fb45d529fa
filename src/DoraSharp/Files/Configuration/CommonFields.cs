namespace DoraSharp;

/// <summary>The fields that adapters of several kinds have.</summary>
internal static class CommonFields
{
    public const string TargetModulesName = "target_modules";

    /// <summary>Those whose names and values are the same everywhere.</summary>
    public static IReadOnlyList<PeftField<AdapterOptions>> All { get; } =
    [
        new("fan_in_fan_out", static o => o.FanInFanOut, static (o, v) => o with { FanInFanOut = v.Boolean() }),
        new("layers_pattern", static o => PeftNodes.Texts(o.LayersPattern), static (o, v) => o with { LayersPattern = v.OneOrMoreTexts() }),
        new("layers_to_transform", static o => PeftNodes.Wholes(o.LayersToTransform), static (o, v) => o with { LayersToTransform = v.OneOrMoreWholes() }),
        new("modules_to_save", static o => PeftNodes.Texts(o.ModulesToSave), static (o, v) => o with { ModulesToSave = v.Texts() }),
        new("r", static o => o.Rank, static (o, v) => o with { Rank = v.Whole() }),
        new(TargetModulesName, static o => PeftNodes.Modules(o.TargetModules), static (o, v) => o with { TargetModules = v.Modules() ?? TargetModules.ModelDefault }),
        new("task_type", static o => o.TaskType, static (o, v) => o with { TaskType = v.OptionalText() }),
    ];

    /// <summary>Which biases train.</summary>
    /// <param name="adaptedLayers">The text for those of the adapted layers.</param>
    public static PeftField<AdapterOptions> Bias(string adaptedLayers)
    {
        PeftNames<BiasTraining> names = new(("none", BiasTraining.None), ("all", BiasTraining.All), (adaptedLayers, BiasTraining.LoraOnly));
        return new("bias", o => names.Of(o.Bias), (o, v) => o with { Bias = names.Read(v) });
    }

    public static PeftField<AdapterOptions> Dropout(string name) =>
        new(name, static o => PythonJson.Float(o.Dropout), static (o, v) => o with { Dropout = v.Number() });
}
