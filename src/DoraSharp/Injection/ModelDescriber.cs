using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Describes a TorchSharp model to the matching rules, which know no tensors.</summary>
internal static class ModelDescriber
{
    /// <summary>Describes a model.</summary>
    public static ModelDescription Describe(nn.Module model, ModuleTree tree, InjectionOptions injection)
    {
        string[][] tied = Tied(model, tree);
        string? embedding = tree.Nodes.FirstOrDefault(node => node.Module is Embedding && tied.Any(group => group.Contains($"{node.Path}.weight")))?.Path;
        return new(Describe("", model, []), [.. tree.Nodes.Select(node => Describe(node.Path, node.Module, node.Aliases))])
        {
            ModelType = injection.ModelType,
            TiedParameters = tied,
            InputEmbedding = embedding,
            TiesWordEmbeddings = embedding is not null,
        };
    }

    private static ModuleDescription Describe(string path, nn.Module module, IReadOnlyList<string> aliases)
    {
        ModuleDescription description = new(path, module.GetType().Name, LayerKinds.Of(module))
        {
            Parameters = [.. module.named_parameters(recurse: false).Select(parameter => new ParameterDescription(parameter.name, parameter.parameter.shape))],
            HasTransposedExperts = LayerKinds.IsTransposed(module),
            IsContainer = module is ModuleList<nn.Module> || IsDictionary(module),
            Aliases = aliases,
        };
        long[] weight = module.get_parameter("weight")?.shape ?? [];
        return module switch
        {
            Linear linear => description with { In = linear.in_features, Out = linear.out_features },
            QuantizedLinear quantized => description with { In = quantized.InFeatures, Out = quantized.OutFeatures },
            QuantizedEmbedding quantized => description with { In = quantized.Rows, Out = quantized.Width },
            TransposedLinear or Embedding => description with { In = weight[0], Out = weight[1] },
            MultiheadAttention attention => Describe(AttentionWeights.Of(attention), description),
            Convolution convolution => description with { In = convolution.in_channels, Out = convolution.out_channels, Kernel = convolution.kernel_size, Groups = convolution.groups },
            _ => description,
        };
    }

    private static ModuleDescription Describe(AttentionWeights attention, ModuleDescription description) => description with
    {
        In = attention.OutProjection.shape[0],
        Out = attention.OutProjection.shape[0],
        KeyFeatures = attention.KeyProjection?.shape[1],
        ValueFeatures = attention.ValueProjection?.shape[1],
    };

    private static bool IsDictionary(nn.Module module)
    {
        Type type = module.GetType();
        return type.IsGenericType && (type.GetGenericTypeDefinition() == typeof(ModuleDict<>) || type.GetGenericTypeDefinition() == typeof(ModuleList<>));
    }

    private static string[][] Tied(nn.Module model, ModuleTree tree) =>
    [
        .. tree.Nodes.Select(node => (node.Path, node.Module)).Prepend((Path: "", Module: model))
            .SelectMany(entry => entry.Module.named_parameters(recurse: false)
                .Where(parameter => parameter.parameter.numel() > 0)
                .Select(parameter => (Name: entry.Path.Length == 0 ? parameter.name : $"{entry.Path}.{parameter.name}", Address: Place(parameter.parameter))))
            .GroupBy(parameter => parameter.Address)
            .Select(group => group.Select(parameter => parameter.Name).ToArray())
            .Where(group => group.Length > 1),
    ];

    // On the meta device there is no memory, and nothing but the tensor itself that can be shared.
    private static nint Place(Tensor tensor) => tensor.is_meta ? TensorIdentity.Of(tensor) : TensorMemory.Address(tensor);
}
