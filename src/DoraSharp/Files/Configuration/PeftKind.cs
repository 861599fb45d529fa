namespace DoraSharp;

/// <summary>A kind of adapter in PEFT's format: its name in <c>peft_type</c> and the fields of its configuration.</summary>
/// <param name="Name">The value of <c>peft_type</c>.</param>
/// <param name="Defaults">What a configuration without fields means.</param>
/// <param name="Fields">The fields that become options.</param>
internal sealed record PeftKind(string Name, AdapterOptions Defaults, IReadOnlyList<PeftField<AdapterOptions>> Fields)
{
    /// <summary>The name of the field that tells the kind; the only one that a file must have.</summary>
    public const string FieldName = "peft_type";

    private static readonly PeftKind[] All =
    [
        new("LORA", new LoraOptions { TargetModules = TargetModules.ModelDefault }, LoraFields.All),
        new("VERA", new VeraOptions { TargetModules = TargetModules.ModelDefault }, VeraFields.All),
    ];

    private static IEnumerable<string> Names => All.Select(static kind => $"\"{kind.Name}\"");

    /// <summary>The kind of some options.</summary>
    public static PeftKind Of(AdapterOptions options) => All.First(kind => kind.Defaults.GetType() == options.GetType());

    /// <summary>The kind that a file names.</summary>
    /// <exception cref="InvalidDataException">There is no such kind.</exception>
    public static PeftKind Of(PeftValue value) => Array.Find(All, kind => kind.Name == value.OptionalText())
        ?? throw value.Wrong($"{string.Join(" or ", Names)}; other kinds are not supported");
}
