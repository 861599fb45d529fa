using System.Text.Json;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Golden;

/// <summary>What PEFT computed with one LoRA or DoRA adapter on linear layers, replayed from the folders that it wrote.</summary>
public class PeftLinearCaseTests
{
    private static readonly HashSet<string> SupportedFields =
    [
        "r", "lora_alpha", "use_dora", "use_rslora", "target_modules", "exclude_modules", "rank_pattern", "alpha_pattern", "init_lora_weights", "lora_dropout", "task_type",
    ];

    [Fact]
    public void LoadTrainAndMerge_EveryLinearCase_GivesPeftsNumbers()
    {
        string[] folders = [.. Directory.GetDirectories(SharedFolder.Require("fixtures", "peft")).Order(StringComparer.Ordinal).Where(IsLinearWithOneAdapter)];
        List<string> failures = [];
        int compared = 0;
        foreach (string folder in folders)
        {
            using var scope = NewDisposeScope();
            JsonElement description = Read(folder);
            using SafetensorsReader io = SafetensorsReader.Open(Path.Combine(folder, "io.safetensors"));
            using GoldenLinearModel model = new(description.GetProperty("model"));
            using SafetensorsReader weights = SafetensorsReader.Open(Path.Combine(folder, "base.safetensors"));
            model.load_state_dict(weights.Entries.ToDictionary(entry => entry.Name, entry => weights.Read(entry.Name)));
            Tensor x = io.Read("x").requires_grad_(true);
            Compare("y.base", model.call(x));

            using AdaptedModel adapted = AdaptedModel.Load(model, Path.Combine(folder, description.GetProperty("adapters")[0].GetProperty("folder").GetString()!));
            model.eval();
            Compare("y", model.call(x));
            if (io.TryGetEntry("dy", out _))
            {
                model.train();
                model.call(x).backward([io.Read("dy")]);
                Compare("grad.x", x.grad!);
                foreach (PeftTensor gradient in adapted.TensorsOf(adapted.AdapterName))
                {
                    Compare($"grad.{gradient.Name}", gradient.Value.grad!, RoundingOfTheBias(adapted, gradient, io.Read("dy")));
                }
            }

            model.eval();
            adapted.MergeAndUnload();
            Compare("y.merged", model.call(x));
            foreach ((string name, Parameter parameter) in model.named_parameters())
            {
                Compare($"merged.{name}", parameter);
            }

            void Compare(string key, Tensor actual, Tensor? rounding = null)
            {
                if (io.TryGetEntry(key, out _))
                {
                    compared++;
                    double excess = Excess(actual, io.Read(key), description.GetProperty("tolerance"), rounding);
                    if (!(excess <= 0))
                    {
                        failures.Add($"{Path.GetFileName(folder)}: {key} by {excess:0.0e+0}");
                    }
                }
            }
        }

        string.Join("; ", failures).Should().BeEmpty();
        folders.Length.Should().BeGreaterThan(30);
        compared.Should().BeGreaterThan(5 * folders.Length);
    }

    /// <summary>
    /// The base layer adds its bias before a magnitude's gradient sees the product (docs/methods.md), so that the gradient of
    /// a row carries the bias's rounding: Σ|dy|·|b|·ε/n. It counts only where the product is far smaller than the bias.
    /// </summary>
    private static Tensor? RoundingOfTheBias(AdaptedModel adapted, PeftTensor gradient, Tensor dy)
    {
        FrozenWeight weight = adapted.Layers.First(layer => layer.Key == gradient.ModulePath).Value.Weight;
        if (gradient.Part != "lora_magnitude_vector" || weight.Bias is null || dy.shape[^1] != weight.Outputs || weight.DType != ScalarType.Float32)
        {
            return null;
        }

        Tensor epsilon = dy.to(ScalarType.Float64).abs().reshape(-1, weight.Outputs).sum(dim: 0) * weight.Bias.to(ScalarType.Float64).abs() * 1.2e-7;
        return epsilon / gradient.Value.detach().to(ScalarType.Float64).abs().clamp(min: 1e-300);
    }

    private static bool IsLinearWithOneAdapter(string folder)
    {
        JsonElement description = Read(folder);
        JsonElement adapter = description.TryGetProperty("adapters", out JsonElement adapters) && adapters.GetArrayLength() == 1 ? adapters[0] : default;
        if (adapter.ValueKind == JsonValueKind.Undefined)
        {
            return false;
        }

        return description.GetProperty("kind").GetString() is "forward" or "edge" or "layout"
            && description.TryGetProperty("model", out JsonElement model)
            && model.TryGetProperty("modules", out JsonElement modules)
            && modules.EnumerateArray().All(module => module.GetProperty("type").GetString() == "Linear")
            && description.TryGetProperty("active", out JsonElement active)
            && active.GetArrayLength() == 1
            && active[0].GetString() == adapter.GetProperty("name").GetString()
            && IsLora(Path.Combine(folder, adapter.GetProperty("folder").GetString()!, "adapter_config.json"))
            && adapter.TryGetProperty("config", out JsonElement configuration)
            && configuration.EnumerateObject().All(field => SupportedFields.Contains(field.Name))
            && !description.TryGetProperty("states", out _)
            && !description.TryGetProperty("expected_missing", out _);
    }

    private static bool IsLora(string configuration) => Parse(configuration).GetProperty("peft_type").GetString() == "LORA";

    private static JsonElement Read(string folder) => Parse(Path.Combine(folder, "case.json"));

    private static JsonElement Parse(string file)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(file));
        return document.RootElement.Clone();
    }

    /// <summary>The fixture's rule: |a − b| ≤ max(atol + rtol·|b|, rtol·max|b|); by how much the worst element misses it.</summary>
    private static double Excess(Tensor actual, Tensor expected, JsonElement tolerance, Tensor? rounding)
    {
        actual.shape.Should().Equal(expected.shape);
        if (expected.numel() == 0)
        {
            return 0;
        }

        double relative = tolerance.GetProperty("rtol").GetDouble();
        double absolute = tolerance.TryGetProperty("atol", out JsonElement atol) ? atol.GetDouble() : 0;
        Tensor b = expected.to(ScalarType.Float64);
        Tensor allowed = maximum((b.abs() * relative) + absolute, b.abs().max() * relative);
        allowed = rounding is null ? allowed : allowed + rounding;
        return ((actual.detach().to(ScalarType.Float64) - b).abs() - allowed).max().item<double>();
    }
}
