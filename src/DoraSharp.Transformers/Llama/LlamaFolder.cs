using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>Reads and writes the Hugging Face folder of a Llama, dense or quantized.</summary>
internal static class LlamaFolder
{
    /// <summary>As <see cref="LlamaForCausalLM.Load"/>.</summary>
    public static LlamaForCausalLM Load(string folder, ScalarType? dtype, Device? device, ModelQuantizationOptions? quantization, IProgress<CheckpointProgress>? progress)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        if (!Directory.Exists(folder))
        {
            throw new DirectoryNotFoundException($"The model folder '{folder}' does not exist.");
        }

        LlamaConfig config = LlamaConfig.Load(folder);
        BitsandbytesConfig? stored = BitsandbytesConfig.Read(JsonFields.Load(Path.Combine(folder, "config.json")));
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(folder);
        LlamaLoadPlan plan = LlamaLoadPlan.Create(config, checkpoint);
        stored?.Check(checkpoint, plan.QuantizedWeights);
        if (quantization is not null && plan.QuantizedWeights.Count > 0)
        {
            throw new ArgumentException($"'{folder}' holds quantized weights already, {plan.QuantizedWeights.First()} for one: leave out how to quantize.", nameof(quantization));
        }

        return CheckpointLoader.Load(
            () => new LlamaForCausalLM(plan.Config, META, dtype ?? plan.DType, initialize: false),
            checkpoint,
            new CheckpointOptions
            {
                Quantization = quantization,
                ComputeType = dtype ?? stored?.ComputeType,
                Device = device,
                NameInFile = name => plan.Sources.GetValueOrDefault(name, name),
                IgnoreUnexpected = true,
                Progress = progress,
            });
    }

    /// <summary>As <see cref="LlamaForCausalLM.Save"/>.</summary>
    public static void Save(LlamaForCausalLM model, string folder, ScalarType? dtype)
    {
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        Dictionary<string, Tensor> state = model.state_dict();
        Dictionary<string, QuantizedLinear> quantized = Quantized(model, state);
        foreach (string part in state.Keys.Where(key => quantized.Keys.Any(weight => key.StartsWith($"{weight}.", StringComparison.Ordinal) || key == ScalesOf(weight))).ToList())
        {
            state.Remove(part);
        }

        string[] expected = [.. LlamaParameters.Of(model.Config).Select(parameter => parameter.Name)];
        if (state.Keys.Except(expected).Concat(expected.Except(state.Keys)).FirstOrDefault() is { } strange)
        {
            throw new InvalidOperationException($"The model's parameters are not those of a Llama ('{strange}' differs): merge or remove its adapters before you save it.");
        }

        ScalarType stored = dtype ?? state[LlamaParameters.Embedding].dtype;
        string text = LlamaConfigJson.Write(model.Config, stored, quantized.Count == 0 ? null : BitsandbytesConfig.Write(quantized.Values, DenseLayers(model)));
        Write(folder, text, [.. state.SelectMany(Stored)]);

        IEnumerable<KeyValuePair<string, Tensor>> Stored(KeyValuePair<string, Tensor> entry) => quantized.TryGetValue(entry.Key, out QuantizedLinear? layer)
            ? BitsandbytesWriter.ToTensors(layer.Weight, entry.Key)
            : [KeyValuePair.Create(entry.Key, dtype is { } wanted ? entry.Value.to(wanted) : entry.Value)];
    }

    private static void Write(string folder, string config, IReadOnlyList<KeyValuePair<string, Tensor>> tensors)
    {
        Directory.CreateDirectory(folder);
        string path = Path.Combine(folder, "config.json"), pending = Path.Combine(folder, $".{Guid.NewGuid():N}.tmp");
        try
        {
            File.WriteAllText(pending, config);
            SafetensorsWriter.Write(Path.Combine(folder, "model.safetensors"), tensors, new Dictionary<string, string> { ["format"] = "pt" });
            File.Move(pending, path, overwrite: true);
        }
        finally
        {
            File.Delete(pending);
        }
    }

    /// <summary>The quantized layers by their weights' names; one that was merged into a dense weight is none.</summary>
    private static Dictionary<string, QuantizedLinear> Quantized(LlamaForCausalLM model, Dictionary<string, Tensor> state) => model.named_modules()
        .Select(static entry => (Weight: $"{entry.name}.weight", Layer: entry.module as QuantizedLinear))
        .Where(entry => entry.Layer is not null && !state[entry.Weight].is_floating_point())
        .ToDictionary(static entry => entry.Weight, static entry => entry.Layer!);

    /// <summary>The dense layers as transformers sees them: there a tied head is a layer, too.</summary>
    private static string[] DenseLayers(LlamaForCausalLM model) =>
        [.. model.named_modules().Where(static entry => entry.module is Linear).Select(static entry => entry.name), .. model.Config.TieWordEmbeddings ? (string[])[LlamaParameters.Head[..^".weight".Length]] : []];

    private static string ScalesOf(string weight) => $"{weight[..weight.LastIndexOf('.')]}.SCB";
}
