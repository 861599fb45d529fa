using System.Text.Json.Nodes;

namespace DoraSharp;

/// <summary>One field of a configuration: its name in the file, and how it is written from and read into <typeparamref name="T"/>.</summary>
/// <param name="Name">The name in the file.</param>
/// <param name="Write">Gives the value that PEFT would write.</param>
/// <param name="Read">Takes a value from a file over.</param>
internal sealed record PeftField<T>(string Name, Func<T, JsonNode?> Write, Func<T, PeftValue, T> Read)
{
    // What PEFT has no field for; its reader leaves unknown names out with a warning.
    private const string OwnPrefix = "dorasharp_";
    private const int LongestReason = 300;

    /// <summary>Whether the field is this library's own: it is written only where it says something, that is, is not null.</summary>
    public bool IsOwn => Name.StartsWith(OwnPrefix, StringComparison.Ordinal);

    /// <summary>A field that this library cannot honour: it must have PEFT's default.</summary>
    public static PeftField<T> Only(string name, JsonNode? fallback) => new(
        name,
        _ => fallback?.DeepClone(),
        (target, value) => value.IsDefault(fallback)
            ? target
            : throw new InvalidDataException($"{value.Name} is {value.Excerpt} (only {fallback?.ToJsonString() ?? "null"} is supported)."));

    /// <summary>A field that PEFT's format lacks.</summary>
    public static PeftField<T> Own(string name, Func<T, JsonNode?> write, Func<T, PeftValue, T> read) => new(OwnPrefix + name, write, read);

    /// <summary>Reads; a value that the target refuses is refused with the field's name.</summary>
    /// <exception cref="InvalidDataException">The value is none that the field can have.</exception>
    public T ReadChecked(T target, PeftValue value)
    {
        try
        {
            return Read(target, value);
        }
        catch (ArgumentException e)
        {
            string reason = e.Message.Length <= LongestReason ? e.Message : e.Message[..LongestReason] + "…";
            throw new InvalidDataException($"{value.Name} is {value.Excerpt}: {reason}", e);
        }
    }
}
