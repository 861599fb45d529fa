using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Transformers.Tests;

/// <summary>A case of shared/fixtures: its case.json and its tensors.</summary>
internal sealed class GoldenCase
{
    private readonly string folder;
    private readonly string tensors;

    private GoldenCase(string folder, string tensors)
    {
        (this.folder, this.tensors) = (folder, tensors);
        using JsonDocument document = JsonDocument.Parse(System.IO.File.ReadAllText(Path.Combine(folder, "case.json")));
        Json = document.RootElement.Clone();
    }

    public JsonElement Json { get; }

    public string Model => Folder("model");

    public static GoldenCase Of(string tensors, params string[] parts) => new(SharedFolder.Require(["fixtures", .. parts]), tensors);

    public static GoldenCase Tiny(string name) => Of("cases.safetensors", "models", "tiny", name);

    public string Folder(string name) => Path.Combine(folder, name);

    public Tensor Tensor(string name)
    {
        using SafetensorsReader reader = SafetensorsReader.Open(Path.Combine(folder, tensors));
        return reader.Read(name);
    }

    /// <summary>The largest amount by which a difference exceeds atol + rtol · |expected|; not positive within the tolerance.</summary>
    public double Excess(Tensor actual, Tensor expected)
    {
        JsonElement tolerance = Json.GetProperty("tolerance");
        return Excess(actual, expected, tolerance.TryGetProperty("logits", out JsonElement logits) ? logits : tolerance);
    }

    public static double Excess(Tensor actual, Tensor expected, JsonElement tolerance)
    {
        actual.shape.Should().Equal(expected.shape);
        double relative = tolerance.TryGetProperty("rtol", out JsonElement rtol) ? rtol.GetDouble() : 0;
        using var scope = NewDisposeScope();
        Tensor wide = expected.to(ScalarType.Float64);
        Tensor allowed = (wide.abs() * relative) + tolerance.GetProperty("atol").GetDouble();
        return ((actual.to(ScalarType.Float64) - wide).abs() - allowed).max().item<double>();
    }
}
