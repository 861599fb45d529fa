using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>An adapter and its base right after injection, in float64.</summary>
/// <param name="A">A, [r, in].</param>
/// <param name="B">B, [out, r].</param>
/// <param name="Product">s·B·A, [out, in].</param>
/// <param name="Update">The same in the layout of the stored weight.</param>
/// <param name="Frozen">The frozen weight in that layout.</param>
internal sealed record InitialFactors(Tensor A, Tensor B, Tensor Product, Tensor Update, Tensor Frozen)
{
    /// <summary>Those of a layer; <see langword="null"/> where it is not adapted.</summary>
    public static InitialFactors? Of(AdaptedModel adapted, string name, ModuleDescription module)
    {
        IReadOnlyDictionary<string, Tensor> parameters = PeftApi.Parameters(adapted, name);
        if (!parameters.TryGetValue($"{module.Path}.lora_A.weight", out Tensor? a))
        {
            return null;
        }

        Tensor b = parameters[$"{module.Path}.lora_B.weight"].detach().to(ScalarType.Float64);
        a = a.detach().to(ScalarType.Float64);
        Tensor product = b.matmul(a) * PeftApi.Setting(adapted, module.Path, name)!.Value.Scaling;
        Tensor frozen = PeftApi.FrozenWeight(adapted, module.Path).detach().to(ScalarType.Float64);
        return module.Type == "HFConv1D" ? new(a, b, product, product.t(), frozen.t()) : new(a, b, product, product, frozen);
    }
}
