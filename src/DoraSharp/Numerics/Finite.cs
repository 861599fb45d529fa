using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Looks for NaN and infinite values.</summary>
internal static class Finite
{
    /// <summary>Whether every element of a tensor is a finite number.</summary>
    public static bool All(Tensor tensor)
    {
        using Tensor finite = tensor.isfinite();
        using Tensor all = finite.all();
        return all.item<bool>();
    }
}
