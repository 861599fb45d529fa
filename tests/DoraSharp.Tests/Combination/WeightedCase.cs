using System.Text.Json;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Combination;

/// <summary>A golden case of PEFT's <c>add_weighted_adapter</c> at one weight, with all tensors as matrices.</summary>
internal sealed class WeightedCase : IDisposable
{
    private readonly JsonElement description;
    private readonly string folder;
    private readonly string path;
    private readonly bool isTransposed;
    private readonly SafetensorsReader io;
    private readonly Linear layer;

    public WeightedCase(string folder)
    {
        this.folder = folder;
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(System.IO.Path.Combine(folder, "case.json")));
        description = document.RootElement.Clone();
        JsonElement module = description.GetProperty("model").GetProperty("modules")[0];
        path = module.GetProperty("path").GetString()!;
        isTransposed = module.GetProperty("type").GetString() is "Embedding" or "HFConv1D";
        io = SafetensorsReader.Open(System.IO.Path.Combine(folder, "io.safetensors"));

        using SafetensorsReader weights = SafetensorsReader.Open(System.IO.Path.Combine(folder, "base.safetensors"));
        Tensor w = Matrix(weights.Read($"{path}.weight"));
        layer = nn.Linear(w.shape[1], w.shape[0], hasBias: false);
        layer.weight = new Parameter(w.contiguous().clone(), requires_grad: false);
        Weight = new DenseWeight(layer);
    }

    public string Name => System.IO.Path.GetFileName(folder);

    public FrozenWeight Weight { get; }

    public JsonElement Tolerance => description.GetProperty("tolerance");

    /// <summary>The types that the case says must fail, for a case about errors.</summary>
    public IEnumerable<string> ExpectedErrors => description.GetProperty("expected_errors").EnumerateObject().Select(error => error.Name);

    /// <summary>The change of the weight that the combined adapter makes, [out, in].</summary>
    public Tensor ExpectedChange => Matrix(io.Read($"delta.{path}"));

    public AdapterCombination Combination
    {
        get
        {
            JsonElement call = description.GetProperty("call");
            return new()
            {
                Adapters = [.. call.GetProperty("adapters").EnumerateArray().Select(name => name.GetString()!)],
                Weights = [.. call.GetProperty("weights").EnumerateArray().Select(weight => weight.GetDouble())],
                Type = Parse<CombinationType>(call.GetProperty("combination_type").GetString()!),
                SvdRank = call.TryGetProperty("svd_rank", out JsonElement rank) ? rank.GetInt32() : null,
                Density = call.TryGetProperty("density", out JsonElement density) ? density.GetDouble() : null,
                MajoritySign = call.TryGetProperty("majority_sign_method", out JsonElement sign) ? Parse<MajoritySign>(sign.GetString()!) : MajoritySign.Total,
            };
        }
    }

    public IReadOnlyList<CombinationSource> Sources(IReadOnlyList<string> adapters, IReadOnlyList<double> weights) =>
        [.. adapters.Zip(weights, Source)];

    /// <summary>The factors that PEFT saved; null where the case has none.</summary>
    public (Tensor A, Tensor B)? ExpectedFactors =>
        description.TryGetProperty("result_folder", out JsonElement result) && Factors(result.GetString()!) is var (a, b, _) ? (a, b) : null;

    /// <summary>The case's masks, in drawing order.</summary>
    public Func<long[], Tensor> Masks()
    {
        int drawn = 0;
        return shape => io.Read($"mask.{drawn++}").reshape(shape);
    }

    /// <summary>How many masks the case holds.</summary>
    public int MaskCount => io.Entries.Count(entry => entry.Name.StartsWith("mask.", StringComparison.Ordinal));

    /// <summary>PEFT's name of a value: <c>dare_ties</c> for <see cref="CombinationType.DareTies"/>.</summary>
    public static T Parse<T>(string name)
        where T : struct, Enum => Enum.Parse<T>(name.Replace("_", "", StringComparison.Ordinal), ignoreCase: true);

    public void Dispose()
    {
        Weight.Dispose();
        layer.Dispose();
        io.Dispose();
    }

    private CombinationSource Source(string adapter, double weight)
    {
        (Tensor a, Tensor b, Tensor? magnitude) = Factors(adapter);
        double scaling = description.GetProperty("layers").GetProperty(path).GetProperty(adapter).GetProperty("scaling").GetDouble();
        return new(adapter, weight, a, b, scaling, magnitude);
    }

    private (Tensor A, Tensor B, Tensor? Magnitude) Factors(string adapter)
    {
        using SafetensorsReader file = SafetensorsReader.Open(System.IO.Path.Combine(folder, adapter, "adapter_model.safetensors"));
        return (Find("_A")!.flatten(1), Find("_B")!.flatten(1), Find("magnitude_vector")?.flatten());

        Tensor? Find(string part) => file.Entries.SingleOrDefault(entry => entry.Name.Contains(part, StringComparison.Ordinal)) is { } found ? file.Read(found.Name) : null;
    }

    private Tensor Matrix(Tensor stored) => isTransposed ? stored.t() : stored.flatten(1);
}
