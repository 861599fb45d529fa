using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What quantizing a model is going to do, with all its checks.</summary>
/// <param name="Sites">The layers, in model order.</param>
/// <param name="LeftAlone">The paths of the linear layers that stay dense.</param>
/// <param name="Untied">The names of tensors that share memory with a weight that is going to be quantized.</param>
internal sealed record QuantizationPlan(
    IReadOnlyList<QuantizationPlan.Site> Sites, IReadOnlyList<string> LeftAlone, IReadOnlyList<(string Quantized, string Dense)> Untied)
{
    /// <summary>Makes the plan without touching the model.</summary>
    /// <exception cref="ArgumentException">A target matches nothing or no <c>Linear</c>, or a weight cannot be quantized.</exception>
    /// <exception cref="InvalidOperationException">The model is adapted, or a slot cannot hold a quantized layer.</exception>
    public static QuantizationPlan Make(nn.Module model, ModelQuantizationOptions options)
    {
        InjectionPlan.RefuseAdapted(model);
        if (model is Linear)
        {
            throw new ArgumentException($"The model is itself a layer, which nothing holds: make a {nameof(QuantizedLinear)} of it by {nameof(QuantizedLinear)}.{nameof(QuantizedLinear.From)}.", nameof(model));
        }

        ModuleTree tree = ModuleTree.Of(model);
        ModelDescription description = ModelDescriber.Describe(model, tree, new InjectionOptions());
        HashSet<string> paths = QuantizationTargets.Find(description, options);
        ModuleNode[] nodes = [.. tree.Nodes.Where(node => paths.Contains(node.Path))];
        Dictionary<nn.Module, List<ModuleSlot>> slots = SlotFinder.Find(model, tree, nodes.Select(node => node.Module));
        Site[] sites = [.. nodes.Select(node => new Site(node, slots[node.Module], tree.SharesTensors(node)))];
        foreach (Site site in sites)
        {
            site.Check(options.Quantization);
        }

        string[] weights = [.. sites.Select(site => $"{site.Node.Path}.weight")];
        return new(
            sites,
            [.. description.Modules.Where(module => module.Kind is LayerKind.Linear or LayerKind.TransposedLinear && module.TypeName != nameof(QuantizedLinear) && !paths.Contains(module.Path)).Select(module => module.Path)],
            [.. from ties in description.TiedParameters
                from weight in ties.Intersect(weights)
                from other in ties.Except(weights)
                select (weight, other)]);
    }

    /// <summary>A layer that is going to be quantized.</summary>
    /// <param name="Node">Its place in the model.</param>
    /// <param name="Slots">Everything that holds it.</param>
    /// <param name="IsShared">Whether others hold its tensors.</param>
    internal sealed record Site(ModuleNode Node, IReadOnlyList<ModuleSlot> Slots, bool IsShared)
    {
        /// <summary>The weight.</summary>
        public Parameter Weight => Node.Module.get_parameter("weight")!;

        private bool IsEmbedding => Node.Module is Embedding;

        private Type QuantizedType => IsEmbedding ? typeof(QuantizedEmbedding) : typeof(QuantizedLinear);

        /// <summary>Makes the quantized layer.</summary>
        public QuantizedLayer Quantize(ModelQuantizationOptions options) => Node.Module is Embedding embedding
            ? QuantizedEmbedding.From(embedding, options.Quantization, options.ComputeType)
            : QuantizedLinear.From((Linear)Node.Module, options.Quantization, options.ComputeType);

        /// <summary>Throws unless the layer can be quantized where it is.</summary>
        public void Check(QuantizationOptions options)
        {
            if (Slots.FirstOrDefault(slot => !slot.DeclaredType.IsAssignableFrom(QuantizedType)) is { } slot)
            {
                throw new InvalidOperationException(
                    $"{Node.Path} is held by {slot.Description}, which is declared as {slot.DeclaredType.Name} and cannot hold a {QuantizedType.Name}. " +
                    $"Declare it as Module<Tensor, Tensor>, or leave the layer out by {nameof(ModelQuantizationOptions.ExcludeModules)}. Nothing was changed.");
            }

            if (WhyNot(options) is { } reason)
            {
                throw new ArgumentException($"The weight of {Node.Path} cannot be quantized: {reason}. Nothing was changed.");
            }
        }

        private string? WhyNot(QuantizationOptions options)
        {
            Tensor weight = Weight;
            if (weight.numel() == 0 || weight.dtype is not (ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16 or ScalarType.Float64))
            {
                return $"it is {weight.dtype} [{string.Join(", ", weight.shape)}]";
            }

            if (Node.Module is Embedding embedding && EmbeddingTraits.Of(embedding).MaxNorm is not null)
            {
                return "the embedding clips its rows (max_norm)";
            }

            if (weight.is_meta || weight.is_sparse)
            {
                return weight.is_meta ? "it is on the meta device and has no values" : "it is sparse";
            }

            // What the formats round to first.
            ScalarType narrowest = options.Format == QuantizationFormat.Int8Rows ? ScalarType.Float16 : weight.dtype == ScalarType.Float64 ? ScalarType.Float32 : weight.dtype;
            using Tensor narrow = weight.detach().to(narrowest);
            return Finite.All(narrow) ? null : $"it has NaN or infinite values{(narrowest == weight.dtype ? "" : $" or values beyond {narrowest.ToString().ToLowerInvariant()}'s")}";
        }
    }
}
