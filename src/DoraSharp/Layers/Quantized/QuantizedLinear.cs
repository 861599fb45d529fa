using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A linear layer whose weight is quantized and frozen: y = x W + b, W being decoded at every use, in the backward pass too,
/// so that no dense weight is ever kept. bitsandbytes: <c>Linear4bit</c>, <c>Linear8bitLt</c> without outliers.
/// </summary>
/// <remarks>
/// The input is converted to <see cref="QuantizedLayer.ComputeType"/> and the output to the input's dtype, as in bitsandbytes.
/// As there, a weight that was bfloat16 or float16 is rounded to that dtype again where the input's gradient is computed.
/// Adapt it by <see cref="LoraLinear"/>, <see cref="DoraLinear"/> or an <see cref="AdapterInjector"/>.
/// </remarks>
public sealed class QuantizedLinear : QuantizedLayer
{
    private const string NameOfBias = "bias";

    [ComponentName(Name = NameOfBias)]
    private Parameter? biasParameter;

    /// <summary>Makes a layer of a weight that is quantized already.</summary>
    /// <param name="weight">W [out, in], which becomes the layer's.</param>
    /// <param name="bias">b [out], which is copied; <see langword="null"/> for none.</param>
    /// <param name="computeType">As <see cref="QuantizedLayer.ComputeType"/>; by default the dtype that the weight had before it was quantized.</param>
    /// <exception cref="ArgumentException">The weight is no matrix, the bias does not fit it, or the layer cannot compute in that dtype.</exception>
    public QuantizedLinear(QuantizedTensor weight, Tensor? bias = null, ScalarType? computeType = null)
        : base(nameof(QuantizedLinear), Matrix(weight, bias), computeType)
    {
        if (bias is not null)
        {
            using var noGrad = no_grad();
            biasParameter = (Parameter)new Parameter(bias.detach().clone(), bias.requires_grad).DetachFromDisposeScope();
            register_parameter(NameOfBias, biasParameter);
        }
    }

    /// <summary>The number of input features.</summary>
    public long InFeatures => Weight.Shape[1];

    /// <summary>The number of output features.</summary>
    public long OutFeatures => Weight.Shape[0];

    /// <summary>The bias b [out], if there is one.</summary>
    public Parameter? Bias => biasParameter;

    internal override Type DenseType => typeof(Linear);

    /// <summary>Quantizes a linear layer.</summary>
    /// <param name="layer">The layer, W [out, in]. It stays as it is, and its weight may be disposed.</param>
    /// <param name="options">How to quantize; by default NF4 in blocks of 64 with double quantization.</param>
    /// <param name="computeType">As <see cref="QuantizedLayer.ComputeType"/>; by default the layer's dtype.</param>
    /// <exception cref="ArgumentException">The weight is empty, not finite, or of a dtype that cannot be quantized.</exception>
    public static QuantizedLinear From(Linear layer, QuantizationOptions? options = null, ScalarType? computeType = null)
    {
        ArgumentNullException.ThrowIfNull(layer);
        QuantizedTensor weight = QuantizedTensor.Quantize(layer.weight, options);
        try
        {
            QuantizedLinear quantized = new(weight, layer.bias, computeType);
            quantized.train(layer.training);
            return quantized;
        }
        catch
        {
            weight.Dispose();
            throw;
        }
    }

    /// <summary>A dense layer with the same function: the decoded weight, or the merged one while adapters are merged into a dense copy of it.</summary>
    /// <param name="dtype">Its dtype; by default <see cref="QuantizedLayer.ComputeType"/>.</param>
    /// <returns>A new layer with copies of weight and bias, which train.</returns>
    public Linear Dequantize(ScalarType? dtype = null)
    {
        using var noGrad = no_grad();
        ScalarType type = dtype ?? ComputeType;
        Tensor weight = Dense is { } dense ? dense.detach().to(type, copy: true) : Weight.Dequantize(type);
        Linear layer = nn.Linear(new Parameter(weight), biasParameter is null ? null : new Parameter(biasParameter.detach().to(type, copy: true)));
        layer.train(training);
        return layer;
    }

    /// <summary>x W + b.</summary>
    /// <param name="input">x, [..., in], of floating point.</param>
    /// <returns>[..., out], in the input's dtype.</returns>
    /// <exception cref="ArgumentException">The input has another number of features, or is not of floating point.</exception>
    public override Tensor forward(Tensor input)
    {
        ArgumentNullException.ThrowIfNull(input);
        if (input.dim() == 0 || input.shape[^1] != InFeatures || !input.is_floating_point())
        {
            throw new ArgumentException($"The layer takes [..., {InFeatures}] of floating point; the input is {input.dtype} [{string.Join(", ", input.shape)}].", nameof(input));
        }

        return Dense is { } dense ? DenseForward(input, dense) : QuantizedStep.Apply(input, Weight, biasParameter, ComputeType);
    }

    internal override nn.Module TakeDense()
    {
        using var noGrad = no_grad();
        Parameter weight = new(Dense!);
        Linear layer = nn.Linear(weight, biasParameter is null ? null : new Parameter(biasParameter.detach().to(weight.dtype, copy: true), biasParameter.requires_grad));
        layer.train(training);
        Dispose();
        return layer;
    }

    private protected override void ReplaceParameter(string name, Parameter moved)
    {
        if (name != NameOfBias)
        {
            base.ReplaceParameter(name, moved);
            return;
        }

        biasParameter!.Dispose();
        biasParameter = moved;
        ConditionallyRegisterParameter(name, moved);
    }

    private static QuantizedTensor Matrix(QuantizedTensor weight, Tensor? bias)
    {
        ArgumentNullException.ThrowIfNull(weight);
        if (weight.Shape.Count != 2)
        {
            throw new ArgumentException($"A linear layer's weight is a matrix [out, in]; this one is [{string.Join(", ", weight.Shape)}].", nameof(weight));
        }

        return bias is null || (bias.dim() == 1 && bias.shape[0] == weight.Shape[0] && bias.is_floating_point())
            ? weight
            : throw new ArgumentException($"The bias of a weight [{string.Join(", ", weight.Shape)}] is [{weight.Shape[0]}] of floating point; this one is {bias.dtype} [{string.Join(", ", bias.shape)}].", nameof(bias));
    }

    private Tensor DenseForward(Tensor input, Tensor dense)
    {
        using var scope = NewDisposeScope();
        return nn.functional.linear(input.to(dense.dtype), dense, biasParameter?.to(dense.dtype)).to(input.dtype).MoveToOuterDisposeScope();
    }
}
