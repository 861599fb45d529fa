using System.Text.Json;

namespace DoraSharp.Conformance;

/// <summary>Each adapter folder, loaded and saved again: the same tensors bit for bit, the same configuration.</summary>
internal static class FilesCheck
{
    private const string ConfigName = "adapter_config.json";
    private const string TensorsName = "adapter_model.safetensors";

    public static bool AppliesTo(PeftCase subject) => subject.File is { SafeMerge: null, ExpectedMissing: null, ExpectedUnexpected: null, Adapters.Count: > 0 };

    public static void Run(PeftCase subject)
    {
        foreach (AdapterDescription adapter in subject.File.Adapters)
        {
            using CaseModel model = subject.NewModel();
            using AdaptedModel adapted = subject.LoadOne(model, adapter);
            string folder = Path.Combine(subject.Temporary, $"{Guid.NewGuid():N}");
            PeftApi.Save(adapted, folder, adapter.Name);
            string saved = adapter.Name == "default" ? folder : Path.Combine(folder, adapter.Name);
            CheckTensors(subject, $"{adapter.Name}/{TensorsName}", Path.Combine(saved, TensorsName), Path.Combine(subject.FolderOf(adapter), TensorsName));
            CheckConfig(subject, $"{adapter.Name}/{ConfigName}", Path.Combine(saved, ConfigName), subject.ConfigPath(adapter));
        }
    }

    /// <summary>Compares two files of tensors; names count without PEFT's prefix, which a file may lack.</summary>
    public static void CheckTensors(PeftCase subject, string name, string actual, string expected)
    {
        using TensorFile ours = new(actual), theirs = new(expected);
        Dictionary<string, string> names = ours.Names.ToDictionary(WithoutPrefix);
        string[] differing = [.. theirs.Names.Select(WithoutPrefix).Except(names.Keys).Concat(names.Keys.Except(theirs.Names.Select(WithoutPrefix)))];
        subject.Expect.Require(differing.Length == 0, name, $"only one of the two files has {string.Join(", ", differing)}");
        foreach (string theirName in theirs.Names)
        {
            subject.Expect.Same($"{name} {theirName}", ours.Read(names[WithoutPrefix(theirName)]), theirs.Read(theirName));
        }

        if (ours.Names.SequenceEqual(theirs.Names))
        {
            subject.Expect.Require(File.ReadAllBytes(actual).AsSpan().SequenceEqual(File.ReadAllBytes(expected)), name, "the tensors are the same, the files' bytes are not");
        }
    }

    private static string WithoutPrefix(string name) => name.StartsWith("base_model.model.", StringComparison.Ordinal) ? name["base_model.model.".Length..] : name;

    private static void CheckConfig(PeftCase subject, string name, string actual, string expected)
    {
        using JsonDocument ours = JsonDocument.Parse(File.ReadAllText(actual)), theirs = JsonDocument.Parse(File.ReadAllText(expected));
        foreach (JsonProperty field in theirs.RootElement.EnumerateObject())
        {
            bool equal = ours.RootElement.TryGetProperty(field.Name, out JsonElement value) && JsonElement.DeepEquals(value, field.Value);
            subject.Expect.Require(equal, $"{name} {field.Name}", $"it is {(value.ValueKind == JsonValueKind.Undefined ? "absent" : value.GetRawText())}, expected {field.Value.GetRawText()}");
        }

        // A file with all of PEFT's fields is the same text; one that lacks some, or has others, is the same in what it has.
        string[] names = [.. theirs.RootElement.EnumerateObject().Select(static field => field.Name)];
        if (ours.RootElement.EnumerateObject().Select(static field => field.Name).SequenceEqual(names))
        {
            subject.Expect.Require(File.ReadAllText(actual) == File.ReadAllText(expected), name, "the fields are the same, the text is not");
        }
    }
}
