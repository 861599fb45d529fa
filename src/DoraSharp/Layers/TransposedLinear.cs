using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A linear layer whose weight is stored [in, out]: y = x W + b. GPT-2's layer, transformers' <c>Conv1D</c>.</summary>
public sealed class TransposedLinear : nn.Module<Tensor, Tensor>
{
    [ComponentName(Name = nameof(weight))]
    private Parameter weightParameter;
    [ComponentName(Name = nameof(bias))]
    private Parameter? biasParameter;

    /// <summary>Makes a layer with a normal weight of standard deviation 0.02 and a zero bias.</summary>
    /// <param name="inFeatures">The number of input features.</param>
    /// <param name="outFeatures">The number of output features.</param>
    /// <param name="hasBias">Whether it has a bias.</param>
    /// <param name="device">Where the layer lives; TorchSharp's default if <see langword="null"/>.</param>
    /// <param name="dtype">The element type; TorchSharp's default if <see langword="null"/>.</param>
    public TransposedLinear(long inFeatures, long outFeatures, bool hasBias = true, Device? device = null, ScalarType? dtype = null)
        : base(nameof(TransposedLinear))
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(inFeatures, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(outFeatures, 1);
        using var noGrad = no_grad();
        weightParameter = (Parameter)new Parameter(empty(inFeatures, outFeatures, dtype: dtype, device: device).normal_(0, 0.02)).DetachFromDisposeScope();
        if (hasBias)
        {
            biasParameter = (Parameter)new Parameter(zeros(outFeatures, dtype: dtype, device: device)).DetachFromDisposeScope();
        }

        RegisterComponents();
    }

    // TorchSharp's to(...) sets the properties that are named as the parameters.

    /// <summary>The weight, [in, out]. One that is replaced is disposed.</summary>
    /// <exception cref="ArgumentNullException">There must be a weight.</exception>
    public Parameter weight
    {
        get => weightParameter;
        set
        {
            ArgumentNullException.ThrowIfNull(value);
            weightParameter = Replace(nameof(weight), weightParameter, value)!;
        }
    }

    /// <summary>The bias, [out], if there is one. One that is replaced is disposed.</summary>
    public Parameter? bias
    {
        get => biasParameter;
        set => biasParameter = Replace(nameof(bias), biasParameter, value);
    }

    /// <summary>x W + b.</summary>
    /// <param name="input">x, [..., in].</param>
    /// <returns>[..., out].</returns>
    public override Tensor forward(Tensor input)
    {
        ArgumentNullException.ThrowIfNull(input);
        using Tensor rows = weightParameter.t();
        return nn.functional.linear(input, rows, biasParameter);
    }

    private Parameter? Replace(string name, Parameter? before, Parameter? value)
    {
        if (!ReferenceEquals(before, value))
        {
            before?.Dispose();
            value?.DetachFromDisposeScope();
            ConditionallyRegisterParameter(name, value);
        }

        return value;
    }
}
