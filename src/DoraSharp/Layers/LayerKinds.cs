using System.Reflection;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The layers that can be adapted, and what adapting them takes: the only place that knows TorchSharp's types.</summary>
internal static class LayerKinds
{
    /// <summary>The kind of a module.</summary>
    public static LayerKind Of(nn.Module module) => module switch
    {
        Linear or QuantizedLinear => LayerKind.Linear,
        TransposedLinear => LayerKind.TransposedLinear,
        Embedding or QuantizedEmbedding => LayerKind.Embedding,
        Conv1d => LayerKind.Conv1d,
        Conv2d => LayerKind.Conv2d,
        Conv3d => LayerKind.Conv3d,
        MultiheadAttention => LayerKind.MultiheadAttention,
        _ => LayerKind.None,
    };

    /// <summary>The type that stands in for a layer in the model.</summary>
    public static Type WrapperOf(nn.Module layer) => layer switch
    {
        Linear or QuantizedLinear => typeof(AdaptedLinear),
        MultiheadAttention => typeof(AdaptedAttention),
        _ => typeof(AdaptedLayer),
    };

    /// <summary>Wraps a layer of a model; it carries no adapter yet.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="options">Those of the first adapter.</param>
    /// <param name="attention">What an attention was made with, where that is known.</param>
    /// <exception cref="NotSupportedException">The layer's options or dtype cannot be adapted.</exception>
    public static IAdaptedModule Wrap(nn.Module layer, AdapterOptions options, AttentionOptions? attention) => layer switch
    {
        Linear or QuantizedLinear => new AdaptedLinear((nn.Module<Tensor, Tensor>)layer, options, ownsBase: true),
        MultiheadAttention native => new AdaptedAttention(native, attention, ownsBase: true),
        _ => new AdaptedLayer((nn.Module<Tensor, Tensor>)layer, options, ownsBase: true),
    };

    /// <summary>The shape [out, in] of a layer's weight seen as a matrix.</summary>
    public static (long Outputs, long Inputs) MatrixShape(nn.Module layer) => layer is QuantizedLinear quantized
        ? (quantized.OutFeatures, quantized.InFeatures)
        : layer is QuantizedEmbedding { Width: var width, Rows: var rows } ? (width, rows)
        : layer.get_parameter("weight") is { } weight ? (layer is TransposedLinear or Embedding ? WeightLayout.Transposed : WeightLayout.RowMajor).MatrixShape(weight.shape)
        : throw new NotSupportedException($"A {layer.GetType().Name} has no weight of its own.");

    /// <summary>The dtype that a layer's weight stands for.</summary>
    public static ScalarType TypeOf(nn.Module layer) => layer is QuantizedLayer quantized ? quantized.ComputeType : layer.parameters().First().dtype;

    /// <summary>A dense tensor without history that a layer can run on in place of a parameter, with the same result.</summary>
    public static Tensor DenseWeightOf(nn.Module layer, string parameterName) => layer is QuantizedLayer { Dense: null } quantized
        ? quantized.Weight.Dequantize(quantized.ComputeType)
        : layer.get_parameter(parameterName)!.detach();

    /// <summary>An empty stack for a layer with one weight.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="options">Those of the first adapter.</param>
    /// <exception cref="NotSupportedException">The layer's kind or dtype cannot be adapted.</exception>
    /// <exception cref="ArgumentException">The layer has no input or no output features.</exception>
    public static AdapterStack StackFor(nn.Module layer, AdapterOptions options)
    {
        Parameter weight = layer.get_parameter("weight")
            ?? throw new NotSupportedException($"A {layer.GetType().Name} cannot be adapted; these can: {string.Join(", ", Enum.GetNames<LayerKind>().Skip(1))}.");
        _ = Adapter.ParameterType(TypeOf(layer));
        if (weight.numel() == 0)
        {
            throw new ArgumentException($"The layer's weight is [{string.Join(", ", weight.shape)}]; there is nothing to adapt.", nameof(layer));
        }

        return layer switch
        {
            Linear linear => new(new DenseWeight(linear), new LinearGeometry(LayerKind.Linear, linear.in_features)),
            QuantizedLinear quantized => new(new QuantizedWeight(quantized), new LinearGeometry(LayerKind.Linear, quantized.InFeatures)),
            TransposedLinear => new(new DenseWeight(layer, WeightLayout.Transposed), new LinearGeometry(LayerKind.TransposedLinear, weight.shape[0])),
            Embedding embedding => new(new DenseWeight(layer, WeightLayout.Transposed), new EmbeddingGeometry(embedding)),
            QuantizedEmbedding quantized => new(new QuantizedWeight(quantized, WeightLayout.Transposed), new EmbeddingGeometry(quantized.Rows, quantized.forward)),
            Convolution convolution and (Conv1d or Conv2d or Conv3d) => ForConvolution(convolution, ConvolutionGeometry.UpdateOf(options)),
            _ => throw new NotSupportedException($"A {layer.GetType().Name} cannot be adapted; these can: {string.Join(", ", Enum.GetNames<LayerKind>().Skip(1))}."),
        };
    }

    /// <summary>An empty stack for a parameter of a module: [out, in], or of several experts [E, out, in].</summary>
    /// <exception cref="NotSupportedException">There is no such parameter, or its shape or dtype cannot be adapted.</exception>
    public static AdapterStack StackFor(nn.Module module, string parameterName)
    {
        Parameter parameter = module.get_parameter(parameterName) ?? throw new NotSupportedException($"A {module.GetType().Name} has no parameter '{parameterName}'.");
        _ = Adapter.ParameterType(parameter.dtype);
        long[] shape = parameter.shape;
        if (shape.Length == 2)
        {
            return new(new DenseWeight(module, WeightLayout.RowMajor, parameterName, biasName: ""), new ParameterGeometry(1, shape[0]));
        }

        bool transposed = IsTransposed(module);
        return shape.Length == 3
            ? new(new DenseWeight(module, new ExpertsLayout(transposed), parameterName, biasName: ""), new ParameterGeometry(shape[0], transposed ? shape[2] : shape[1]))
            : throw new NotSupportedException($"The parameter '{parameterName}' is [{string.Join(", ", shape)}]; matrices [out, in] and stacks of them [experts, out, in] can be adapted.");
    }

    /// <summary>Whether a module says, as some of transformers' do, that its experts' weights are stored [E, in, out].</summary>
    public static bool IsTransposed(nn.Module module)
    {
        const BindingFlags Instance = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic;
        foreach (string name in new[] { "is_transposed", "IsTransposed" })
        {
            object? value = module.GetType().GetProperty(name, Instance)?.GetValue(module) ?? module.GetType().GetField(name, Instance)?.GetValue(module);
            if (value is bool transposed)
            {
                return transposed;
            }
        }

        return false;
    }

    private static AdapterStack ForConvolution(Convolution layer, GroupedUpdate update) => new(
        new DenseWeight(layer, layer.groups > 1 && update == GroupedUpdate.Peft ? new GroupedLayout(layer.groups) : WeightLayout.RowMajor),
        new ConvolutionGeometry(layer, update));
}
