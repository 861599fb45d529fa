using System.Text.Json.Nodes;

namespace DoraSharp;

/// <summary>The fields of PEFT's <c>VeraConfig</c>. It has neither DoRA's magnitude nor excluded modules; those are fields of our own.</summary>
internal static class VeraFields
{
    public static IReadOnlyList<PeftField<AdapterOptions>> All { get; } =
    [
        .. CommonFields.All,
        CommonFields.Bias("vera_only"),
        CommonFields.Dropout("vera_dropout"),
        Field("d_initial", static o => PythonJson.Float(o.DInitial), static (o, v) => o with { DInitial = v.Number() }),
        PeftField<AdapterOptions>.Only("init_weights", true),
        Field("projection_prng_key", static o => o.ProjectionKey, static (o, v) => o with { ProjectionKey = v.Long() }),
        Field("save_projection", static o => o.SaveProjection, static (o, v) => o with { SaveProjection = v.Boolean() }),
        PeftField<AdapterOptions>.Own("exclude_modules", static o => PeftNodes.Modules(o.ExcludeModules), static (o, v) => o with { ExcludeModules = v.Modules() }),
        PeftField<AdapterOptions>.Own("use_dora", static o => o.UseDora ? true : null, static (o, v) => o with { UseDora = v.Boolean() }),
    ];

    private static PeftField<AdapterOptions> Field(string name, Func<VeraOptions, JsonNode?> write, Func<VeraOptions, PeftValue, VeraOptions> read) =>
        new(name, options => write((VeraOptions)options), (options, value) => read((VeraOptions)options, value));
}
