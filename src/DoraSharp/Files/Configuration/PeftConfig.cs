using System.Text.Json;
using System.Text.Json.Nodes;

namespace DoraSharp;

/// <summary>The content of an <c>adapter_config.json</c>.</summary>
/// <param name="Options">The adapter's options.</param>
/// <param name="Metadata">What the file says besides.</param>
/// <param name="UnknownFields">The names of the fields that this library does not know.</param>
internal sealed record PeftConfig(AdapterOptions Options, PeftMetadata Metadata, IReadOnlyList<string> UnknownFields)
{
    /// <summary>Whether the file says what is adapted.</summary>
    public bool NamesTargets =>
        Options.TargetModules is { IsModelDefault: false, IsNone: false } || Options is LoraOptions { TargetParameters.Count: > 0 };

    /// <summary>The same file with targets that it does not name itself.</summary>
    public PeftConfig WithTargets(TargetModules targets)
    {
        AdapterOptions options = Options with { TargetModules = targets };
        return this with { Options = options, Metadata = Metadata with { Source = Metadata.Source! with { Options = options } } };
    }

    /// <summary>The file's text, as PEFT writes it: all fields, sorted by name; those of a file that was read keep their form.</summary>
    /// <exception cref="ArgumentException">An additional field has the name of one that the options or the metadata set, or PEFT's format cannot hold an option.</exception>
    public static byte[] Serialize(AdapterOptions options, PeftMetadata metadata)
    {
        SortedDictionary<string, JsonNode?> fields = Fields(options, metadata);
        return metadata.Source?.Write(fields) ?? PythonJson.Serialize(new JsonObject(fields));
    }

    /// <summary>All fields with the values that PEFT would write.</summary>
    /// <exception cref="ArgumentException">As for <see cref="Serialize"/>.</exception>
    internal static SortedDictionary<string, JsonNode?> Fields(AdapterOptions options, PeftMetadata metadata)
    {
        PeftKind kind = PeftKind.Of(options);
        SortedDictionary<string, JsonNode?> fields = new(StringComparer.Ordinal)
        {
            [PeftKind.FieldName] = kind.Name,
            [MetadataFields.AutoMapping] = null,
        };
        Add(fields, kind.Fields, options);
        Add(fields, MetadataFields.All, metadata);
        foreach ((string name, JsonElement value) in metadata.AdditionalFields)
        {
            if (name != MetadataFields.AutoMapping && fields.ContainsKey(name))
            {
                throw new ArgumentException($"{nameof(PeftMetadata.AdditionalFields)} has '{name}', which the options or the metadata set.", nameof(metadata));
            }

            fields[name] = PythonJson.Raw(value);
        }

        return fields;
    }

    private static void Add<T>(SortedDictionary<string, JsonNode?> to, IReadOnlyList<PeftField<T>> fields, T from)
    {
        foreach (PeftField<T> field in fields)
        {
            if (field.Write(from) is var value && (value is not null || !field.IsOwn))
            {
                to.Add(field.Name, value);
            }
        }
    }
}
