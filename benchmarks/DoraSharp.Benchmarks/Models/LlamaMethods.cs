using DoraSharp.Transformers;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>The ways to train the model that are measured side by side.</summary>
internal static class LlamaMethods
{
    public const string Frozen = "frozen";
    public const string Full = "full";
    public const string Lora = "lora";
    public const string Dora = "dora";
    public const string PeftDora = "peft_dora";
    public const string CheckpointedDora = "dora_checkpointed";

    private const string LayerPattern = @"model\.layers\.\d+";
    private const string EmbeddingPath = "model.embed_tokens";

    public static IReadOnlyList<string> Names { get; } = [Frozen, Full, Lora, Dora, PeftDora, CheckpointedDora];

    public static bool HasDropout(string method) => method is Lora or Dora or PeftDora;

    public static TrainedLlama Create(string method, double dropout, LlamaSetting setting) => method switch
    {
        Frozen => CreateFrozen(setting),
        Full => CreateFull(setting),
        Lora => CreateAdapted(setting, dropout, useDora: false),
        Dora => CreateAdapted(setting, dropout, useDora: true),
        PeftDora => CreatePeft(setting, dropout),
        CheckpointedDora => CreateAdapted(setting, dropout, useDora: true, isCheckpointed: true),
        _ => throw new ArgumentOutOfRangeException(nameof(method), method, "There is no such method."),
    };

    /// <summary>Forward, and backward to the embeddings' output.</summary>
    private static TrainedLlama CreateFrozen(LlamaSetting setting)
    {
        LlamaForCausalLM model = setting.NewModel();
        var embedding = (Embedding)model.named_modules().First(entry => entry.name == EmbeddingPath).module;
        embedding.register_forward_hook((_, _, hidden) => hidden.requires_grad_(true));
        return new(setting, model, []);
    }

    private static TrainedLlama CreateFull(LlamaSetting setting)
    {
        LlamaForCausalLM model = setting.NewModel();
        foreach (Parameter parameter in model.parameters())
        {
            parameter.requires_grad = true;
        }

        return new(setting, model, model.parameters());
    }

    private static TrainedLlama CreateAdapted(LlamaSetting setting, double dropout, bool useDora, bool isCheckpointed = false)
    {
        LlamaForCausalLM model = setting.NewModel();
        (string Path, AdapterValues Values)[] layers = [.. TargetsOf(model).Select((entry, index) => (entry.Path, LlamaSetting.NewAdapter(index, entry.Layer.weight!, dropout)))];
        AdaptedModel adapted = AdapterInjector.Inject(model, new LoraOptions
        {
            TargetModules = [.. LlamaSetting.Targets],
            Rank = LlamaSetting.Rank,
            Alpha = LlamaSetting.Alpha,
            Dropout = dropout,
            UseDora = useDora,
        });
        Dictionary<string, AdapterStack> stacks = new(adapted.Layers);
        using (no_grad())
        {
            foreach ((string path, AdapterValues values) in layers)
            {
                var adapter = (LoraAdapter)stacks[path][adapted.AdapterName];
                adapter.A.copy_(values.A);
                adapter.B.copy_(values.B);
                adapter.Magnitude?.copy_(values.Magnitude);
            }
        }

        IReadOnlyList<IDisposable> checkpoints = isCheckpointed ? [GradientCheckpointing.Enable(model, TargetModules.FromPattern(LayerPattern))] : [];
        return new(setting, model, adapted.TrainableParameters(), [.. checkpoints, adapted]);
    }

    /// <summary>PEFT's layers call the frozen layer first and work on its output: so does a hook on it.</summary>
    private static TrainedLlama CreatePeft(LlamaSetting setting, double dropout)
    {
        LlamaForCausalLM model = setting.NewModel();
        List<PeftAdapter> adapters = [];
        foreach ((_, Linear layer) in TargetsOf(model))
        {
            PeftAdapter adapter = new(layer, LlamaSetting.NewAdapter(adapters.Count, layer.weight!, dropout));
            layer.register_forward_hook((_, x, z) => adapter.Adapt(z, x));
            adapters.Add(adapter);
        }

        return new(setting, model, adapters.SelectMany(adapter => adapter.Trained), adapters);
    }

    private static IEnumerable<(string Path, Linear Layer)> TargetsOf(LlamaForCausalLM model) =>
        from entry in model.named_modules()
        where entry.module is Linear && LlamaSetting.Targets.Any(target => entry.name.EndsWith("." + target, StringComparison.Ordinal))
        select (entry.name, (Linear)entry.module);
}
