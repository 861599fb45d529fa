using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>A case of the area <c>bnb</c>: its fields and its tensors.</summary>
internal sealed class BitsandbytesCase : IDisposable
{
    private static readonly Dictionary<string, ScalarType> Types = new()
    {
        ["f32"] = ScalarType.Float32,
        ["bf16"] = ScalarType.BFloat16,
        ["f16"] = ScalarType.Float16,
    };

    private readonly JsonDocument document;
    private readonly Dictionary<string, TensorFile> files = [];
    private readonly HashSet<string> ignored = new(StringComparer.Ordinal);

    /// <summary>Opens a case.</summary>
    public BitsandbytesCase(string folder)
    {
        Folder = folder;
        Name = Path.GetFileName(folder);
        document = Open(folder);
        Expect = new(Name, new Tolerance(0), byRows: false);
    }

    public string Folder { get; }

    public string Name { get; }

    public JsonElement Fields => document.RootElement;

    public string Kind => Text(Fields, "kind");

    /// <summary>The first number that the case's text about tolerances calls relative.</summary>
    public Tolerance RelativeTolerance => Regex.Match(Text(Fields, "tolerance"), @"(\d[\d.e-]*) relative") is { Success: true } match
        ? new(double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture))
        : throw new NotSupportedException($"{Name}: its tolerance is not understood.");

    /// <summary>Compares; a tolerance is given with each tensor.</summary>
    public Comparison Expect { get; }

    /// <summary>The file that most kinds have.</summary>
    public TensorFile Tensors => File("tensors.safetensors");

    /// <summary>The entries of a case that has several.</summary>
    public IEnumerable<BitsandbytesEntry> Entries => Fields.GetProperty("entries").EnumerateArray().Select(entry => new BitsandbytesEntry(this, entry));

    /// <summary>The tensors of all files of the case's own folder that no check has looked at.</summary>
    public IEnumerable<string> Unused => Directory.GetFiles(Folder, "*.safetensors")
        .SelectMany(path => File(Path.GetFileName(path)).Unused)
        .Where(name => !ignored.Contains(name));

    public static string Text(JsonElement fields, string name) => fields.GetProperty(name).GetString()!;

    public static ScalarType Type(JsonElement fields, string name) => Types[Text(fields, name)];

    public static QuantizationFormat Format(JsonElement fields) => Text(fields, "quant_type") switch
    {
        "nf4" => QuantizationFormat.Nf4,
        "fp4" => QuantizationFormat.Fp4,
        string other => throw new NotSupportedException($"The suite does not know the type '{other}'."),
    };

    /// <summary>A file of the case's folder.</summary>
    public TensorFile File(string name) => files.TryGetValue(name, out TensorFile? file) ? file : files[name] = new(Path.Combine(Folder, name));

    /// <summary>Leaves out a tensor that the library has no counterpart of.</summary>
    public void Ignore(string name) => ignored.Add(name);

    /// <summary>Compares decoded values in one type: bit for bit, but for the sign of zeros and for bfloat16 numbers so small that some processors flush them.</summary>
    public void Decoded(string name, Tensor actual, Tensor expected)
    {
        using var scope = NewDisposeScope();
        if (expected.dtype == ScalarType.BFloat16)
        {
            const float leastNormal = 1.17549435e-38f;
            Tensor flushed = actual.to(ScalarType.Float32).abs().lt(leastNormal) & expected.to(ScalarType.Float32).abs().lt(leastNormal);
            (actual, expected) = (actual.masked_fill(flushed, 0), expected.masked_fill(flushed, 0));
        }

        Expect.Same(name, actual, expected);
    }

    public void Dispose()
    {
        document.Dispose();
        foreach (TensorFile file in files.Values)
        {
            file.Dispose();
        }
    }

    private static JsonDocument Open(string folder) => JsonDocument.Parse(System.IO.File.ReadAllText(Path.Combine(folder, "case.json")));
}
