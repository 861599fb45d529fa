using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Golden;

/// <summary>A case of the golden files of PEFT: its description and its tensors, which live in the caller's dispose scope.</summary>
internal sealed class PeftCase : IDisposable
{
    private readonly string folder;
    private readonly SafetensorsReader io;

    public PeftCase(string name)
    {
        folder = SharedFolder.Require("fixtures", "peft", name);
        Description = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "case.json"))).RootElement;
        io = SafetensorsReader.Open(Path.Combine(folder, "io.safetensors"));
    }

    public JsonElement Description { get; }

    /// <summary>The rank and scaling that PEFT gave an only adapter.</summary>
    public (int Rank, double Scaling) Adapter
    {
        get
        {
            JsonElement config = Description.GetProperty("adapters")[0].GetProperty("config");
            int rank = config.GetProperty("r").GetInt32();
            double alpha = config.GetProperty("lora_alpha").GetDouble();
            return (rank, config.TryGetProperty("use_rslora", out JsonElement flag) && flag.GetBoolean() ? alpha / Math.Sqrt(rank) : alpha / rank);
        }
    }

    /// <summary>A tensor of io.safetensors.</summary>
    public Tensor Io(string key) => io.Read(key);

    /// <summary>A tensor of another safetensors file of the case.</summary>
    public Tensor Read(string file, string key)
    {
        using SafetensorsReader reader = SafetensorsReader.Open(Path.Combine(folder, file));
        return reader.Read(key);
    }

    /// <summary>Asserts |actual − expected| ≤ max(atol + rtol·|expected|, rtol·max|expected|) with the case's tolerance.</summary>
    public void Compare(Tensor actual, Tensor expected, string what)
    {
        JsonElement tolerance = Description.GetProperty("tolerance");
        double relative = tolerance.GetProperty("rtol").GetDouble();
        Tensor e = expected.detach().to(ScalarType.Float64);
        actual.shape.Should().Equal(expected.shape, what);
        Tensor allowed = maximum((e.abs() * relative) + tolerance.GetProperty("atol").GetDouble(), e.abs().max() * relative);
        Tensor excess = (actual.detach().to(ScalarType.Float64) - e).abs() - allowed;
        excess.max().item<double>().Should().BeLessThanOrEqualTo(0, what);
    }

    public void Dispose() => io.Dispose();
}
