using System.Globalization;

namespace DoraSharp;

/// <summary>Keeps the layers whose index is asked for.</summary>
internal sealed class LayerFilter
{
    private readonly HashSet<int> indices;
    private readonly (string Name, ModulePattern Pattern)[] patterns;

    private LayerFilter(LoraOptions options)
    {
        indices = [.. options.LayersToTransform];
        patterns = options.LayersPattern.Count == 0
            ? [("", ModulePattern.AnyLayer())]
            : [.. options.LayersPattern.Select(static name => (name, ModulePattern.Layer(name)))];
    }

    /// <summary>The filter that options ask for; <see langword="null"/> where they ask for every layer.</summary>
    public static LayerFilter? Of(LoraOptions options) => options.LayersToTransform.Count == 0 ? null : new LayerFilter(options);

    /// <summary>Whether a path lies in a layer that is asked for; one that lies in no layer does not.</summary>
    public bool Keeps(string path) => Find(path) is { } layer && indices.Contains(layer.Index);

    /// <summary>The layer in which a path lies, by the first pattern that matches.</summary>
    public (int Index, string Pattern)? Find(string path)
    {
        foreach ((string name, ModulePattern pattern) in patterns)
        {
            if (pattern.FirstGroup(path) is { } digits)
            {
                return (ToIndex(digits) ?? throw OwnGroup(name), name);
            }
        }

        return null;
    }

    /// <summary>A number of digits of any script, as Python reads them; one that no index can be is -1.</summary>
    private static int? ToIndex(string digits)
    {
        long value = 0;
        foreach (int point in CodePoints.Of(digits))
        {
            int digit = CharUnicodeInfo.GetDecimalDigitValue(char.ConvertFromUtf32(point), 0);
            if (digit < 0)
            {
                return null;
            }

            value = Math.Min((value * 10) + digit, (long)int.MaxValue + 1);
        }

        return digits.Length == 0 ? null : value > int.MaxValue ? -1 : (int)value;
    }

    private static TargetingException OwnGroup(string name) => new(
        TargetingError.InvalidRegex, $"The layers pattern '{name}' has a group of its own, which would be taken for the layer's index; write (?:...).");
}
