using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Makes the factors A [r, in] and B [out, r] of a fresh adapter.</summary>
internal static class LoraInitializer
{
    private static readonly double Sqrt5 = Math.Sqrt(5);

    public static (Parameter A, Parameter B) Create(LoraOptions options, FrozenWeight weight, Geometry geometry, ScalarType dtype)
    {
        using var noGrad = no_grad();
        Tensor a = empty(geometry.ShapeOfA(weight.Inputs, options.Rank), dtype: dtype, device: weight.Device);
        Tensor b = zeros(geometry.ShapeOfB(weight.Outputs, options.Rank), dtype: dtype, device: weight.Device);
        if (options.Initialization == LoraInitialization.Gaussian)
        {
            nn.init.normal_(a, 0, 1.0 / options.Rank);
        }
        else if (options.Initialization == LoraInitialization.Kaiming || options.Initialization == LoraInitialization.Random)
        {
            nn.init.kaiming_uniform_(a, a: Sqrt5);
        }
        else
        {
            throw new NotSupportedException($"The initialization {options.Initialization} is not supported.");
        }

        if (options.Initialization == LoraInitialization.Random)
        {
            nn.init.kaiming_uniform_(b, a: Sqrt5);
        }

        // A caller's dispose scope must not take the parameters of a module that outlives it.
        return ((Parameter)new Parameter(a).DetachFromDisposeScope(), (Parameter)new Parameter(b).DetachFromDisposeScope());
    }
}
