using System.Text.Json;

namespace DoraSharp.Conformance;

/// <summary>Reads a model's tree.</summary>
internal static class TargetingTree
{
    private static readonly HashSet<string> Containers = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList"];

    public static DoraSharp.ModelDescription Read(string path)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(path));
        JsonElement tree = document.RootElement;
        ILookup<string, string> aliases = tree.GetProperty("aliases").EnumerateArray()
            .ToLookup(static alias => alias.GetProperty("same_as").GetString()!, static alias => alias.GetProperty("path").GetString()!);
        DoraSharp.ModuleDescription[] modules = [.. tree.GetProperty("modules").EnumerateArray().Select(module => Module(module, aliases))];
        bool isTransformers = tree.GetProperty("transformers_model").GetBoolean();
        return new(modules[0], modules[1..])
        {
            ModelType = tree.GetProperty("model_type").GetString(),
            InputEmbedding = tree.GetProperty("input_embeddings").GetString(),
            OutputEmbeddings = tree.GetProperty("output_embeddings").GetString() is { } output ? [output] : [],
            NamesItsHead = isTransformers,
            TiesWordEmbeddings = tree.GetProperty("tie_word_embeddings").ValueKind == JsonValueKind.True,
            TiedParameters = [.. tree.GetProperty("tied_parameters").EnumerateArray().Select(Texts)],
        };
    }

    private static DoraSharp.ModuleDescription Module(JsonElement module, ILookup<string, string> aliases)
    {
        string path = module.GetProperty("path").GetString()!;
        string type = module.GetProperty("type").GetString()!;
        LayerKind kind = module.GetProperty("is").GetString() switch
        {
            null => LayerKind.None,
            "Conv1D" => LayerKind.TransposedLinear,
            string name => Enum.Parse<LayerKind>(name),
        };
        bool isSplit = module.TryGetProperty("same_dim", out JsonElement same) && !same.GetBoolean();
        string[] parametrized = module.TryGetProperty("parametrized", out JsonElement names) ? Texts(names) : [];
        return new(path, type, kind)
        {
            In = Number(module, kind == LayerKind.MultiheadAttention ? "embed_dim" : "in") ?? 0,
            Out = Number(module, kind == LayerKind.MultiheadAttention ? "embed_dim" : "out") ?? 0,
            Kernel = module.TryGetProperty("kernel", out JsonElement kernel) ? Lengths(kernel) : [],
            Groups = Number(module, "groups") ?? 1,
            KeyFeatures = isSplit ? Number(module, "kdim") : null,
            ValueFeatures = isSplit ? Number(module, "vdim") : null,
            Parameters = [.. Parametrized(module, parametrized), .. Parameters(module)],
            IsParametrized = parametrized.Length > 0,
            HasTransposedExperts = module.TryGetProperty("is_transposed", out JsonElement transposed) && transposed.GetBoolean(),
            IsContainer = Containers.Contains(type),
            Aliases = [.. aliases[path]],
        };
    }

    private static IEnumerable<ParameterDescription> Parameters(JsonElement module) =>
        module.TryGetProperty("params", out JsonElement parameters)
            ? parameters.EnumerateObject().Select(static parameter => new ParameterDescription(parameter.Name, Lengths(parameter.Value)))
            : [];

    // The tree gives the shape of a computed weight only by its layer's features.
    private static IEnumerable<ParameterDescription> Parametrized(JsonElement module, string[] names) =>
        names.Select(name => new ParameterDescription(name, name == "weight" ? [Number(module, "out")!.Value, Number(module, "in")!.Value] : [Number(module, "out")!.Value]));

    private static long? Number(JsonElement module, string name) => module.TryGetProperty(name, out JsonElement value) ? value.GetInt64() : null;

    private static long[] Lengths(JsonElement lengths) => [.. lengths.EnumerateArray().Select(static length => length.GetInt64())];

    private static string[] Texts(JsonElement texts) => [.. texts.EnumerateArray().Select(static text => text.GetString()!)];
}
