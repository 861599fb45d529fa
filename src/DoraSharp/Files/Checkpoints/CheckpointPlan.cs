using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What of a checkpoint becomes what of a model, found and checked before anything is read.</summary>
internal sealed class CheckpointPlan
{
    private const int Shown = 5;

    private readonly List<CheckpointStep> steps = [];
    private readonly List<string> missing = [];
    private readonly List<string> misshapen = [];
    private readonly HashSet<nint> filled = [];
    private readonly HashSet<string> targets = [];
    private readonly HashSet<string> unused;
    private readonly HashSet<string> quantized;
    private readonly SafetensorsCheckpoint checkpoint;
    private readonly CheckpointOptions options;

    private CheckpointPlan(SafetensorsCheckpoint checkpoint, CheckpointOptions options)
    {
        (this.checkpoint, this.options) = (checkpoint, options);
        unused = [.. checkpoint.Names];
        quantized = [.. BitsandbytesReader.FindWeights(checkpoint)];
    }

    public IReadOnlyList<CheckpointStep> Steps => steps;

    public static CheckpointPlan Create(nn.Module model, SafetensorsCheckpoint checkpoint, CheckpointOptions options)
    {
        CheckpointPlan plan = new(checkpoint, options);
        ModuleTree tree = ModuleTree.Of(model);
        if (options.Quantization is { } quantization)
        {
            plan.targets.UnionWith(QuantizationTargets.Find(ModelDescriber.Describe(model, tree, new InjectionOptions()), quantization));
        }

        nn.Module[] candidates = [.. tree.Nodes.Where(plan.BecomesQuantized).Select(static node => node.Module)];
        Dictionary<nn.Module, List<ModuleSlot>> slots = SlotFinder.Find(model, tree, candidates);
        plan.AddTensors("", model);
        foreach (ModuleNode node in tree.Nodes)
        {
            if (slots.TryGetValue(node.Module, out List<ModuleSlot>? places))
            {
                plan.AddQuantized(node.Path, (nn.Module<Tensor, Tensor>)node.Module, places, tree.SharesTensors(node));
            }
            else
            {
                plan.AddTensors(node.Path + ".", node.Module);
            }
        }

        plan.Check();
        return plan;
    }

    private string InFile(string name) => options.NameInFile?.Invoke(name) ?? name;

    private bool BecomesQuantized(ModuleNode node) => targets.Contains(node.Path)
        || (node.Module is Linear && quantized.Contains(InFile($"{node.Path}.weight")));

    private void AddQuantized(string path, nn.Module<Tensor, Tensor> layer, List<ModuleSlot> slots, bool isShared)
    {
        string name = $"{path}.weight", weight = InFile(name);
        Parameter? ownBias = layer.get_parameter("bias");
        string? bias = ownBias is null ? null : InFile($"{path}.bias");
        bool isStored = quantized.Contains(weight);
        Type type = layer is Embedding ? typeof(QuantizedEmbedding) : typeof(QuantizedLinear);
        if (slots.FirstOrDefault(slot => !slot.DeclaredType.IsAssignableFrom(type)) is { } closed)
        {
            throw new InvalidOperationException(
                $"{path} is held by {closed.Description}, which is declared as {closed.DeclaredType.Name} and cannot hold a {type.Name}: declare it as Module<Tensor, Tensor>" +
                (isStored ? "." : $", or leave the layer out by {nameof(ModelQuantizationOptions.ExcludeModules)}."));
        }

        if (layer is Embedding embedding && EmbeddingTraits.Of(embedding).MaxNorm is not null)
        {
            throw new NotSupportedException($"{path} clips its rows (max_norm) and cannot be quantized: make it without max_norm, or leave it out by {nameof(ModelQuantizationOptions.ExcludeModules)}.");
        }

        Parameter ownWeight = layer.get_parameter("weight")!;
        if (isStored)
        {
            unused.ExceptWith(BitsandbytesReader.FindTensors(checkpoint, weight));
            Compare(weight, BitsandbytesReader.ShapeOf(checkpoint, weight), ownWeight);
        }
        else
        {
            Take(weight, ownWeight);
        }

        if (bias is not null)
        {
            Take(bias, ownBias!);
        }

        steps.Add(new QuantizedLayerStep(name, layer, slots, weight, bias, isStored, isShared));
    }

    private void AddTensors(string prefix, nn.Module module)
    {
        IEnumerable<(string Name, Tensor Value)> tensors = module.named_parameters(recurse: false).Select(static entry => (entry.name, (Tensor)entry.parameter))
            .Concat(module.named_buffers(recurse: false).Select(static entry => (entry.name, entry.buffer)));
        foreach ((string name, Tensor value) in tensors)
        {
            string source = InFile(prefix + name);
            if (quantized.Contains(source))
            {
                throw new InvalidDataException($"'{checkpoint.Path}' holds '{source}' quantized; in the model it belongs to a {module.GetType().Name}, and only linear layers can be.");
            }

            // A tensor that two modules share has its value already.
            bool isFirst = filled.Add(TensorIdentity.Of(value));
            if (!isFirst && !unused.Contains(source))
            {
                continue;
            }

            Take(source, value);
            steps.Add(new DenseTensorStep(prefix + name, module, value, source));
        }
    }

    private void Take(string source, Tensor target)
    {
        if (checkpoint.TryGetEntry(source, out SafetensorsEntry? entry))
        {
            unused.Remove(source);
            Compare(source, entry.Shape, target);
        }
        else
        {
            missing.Add(source);
        }
    }

    private void Compare(string source, IReadOnlyList<long> shape, Tensor target)
    {
        if (!shape.SequenceEqual(target.shape))
        {
            misshapen.Add($"{source} is [{string.Join(", ", shape)}] and not [{string.Join(", ", target.shape)}]");
        }
    }

    private void Check()
    {
        string[] faults =
        [
            .. Fault("missing", missing),
            .. Fault("unexpected", options.IgnoreUnexpected ? [] : [.. unused.Order(StringComparer.Ordinal)]),
            .. Fault("misshapen", misshapen),
        ];
        if (faults.Length > 0)
        {
            throw new InvalidDataException($"'{checkpoint.Path}' does not hold the tensors of this model: {string.Join("; ", faults)}.");
        }
    }

    private static IEnumerable<string> Fault(string kind, List<string> names) =>
        names.Count == 0 ? [] : [$"{kind}: {string.Join(", ", names.Take(Shown))}{(names.Count > Shown ? $", … ({names.Count} in all)" : "")}"];
}
