using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>One tensor of an adapter file.</summary>
/// <param name="ModulePath">
/// The path of the module that it belongs to, without PEFT's <c>base_model.model.</c>; empty for the projections that VeRA's
/// layers share. Where PEFT wraps a module twice, its <c>base_layer</c> is part of the path: <c>attention.base_layer.out_proj</c>
/// is an attention's output projection, <c>experts.base_layer</c> the module's second adapted parameter.
/// </param>
/// <param name="Part">
/// What it is to the module: <c>lora_A.weight</c> [r, in], <c>lora_B.weight</c> [out, r], <c>lora_magnitude_vector</c> [out],
/// <c>base_layer.bias</c> [out] (trained with the adapter) and so on; the parameter's name for a module that is saved whole.
/// Empty where the name has no dot; <paramref name="ModulePath"/> is the whole name then.
/// </param>
/// <param name="Value">The tensor.</param>
public sealed record PeftTensor(string ModulePath, string Part, Tensor Value)
{
    private const string WrapperPrefix = "base_model.";
    private const string ModelPrefix = WrapperPrefix + "model.";
    private const string Wrapped = ".base_layer";

    /// <summary>The name in the model: path and part.</summary>
    public string Name => Part.Length == 0 ? ModulePath : ModulePath.Length == 0 ? Part : $"{ModulePath}.{Part}";

    /// <summary>The name in PEFT's file: <c>base_model.model.</c> and <see cref="Name"/>; the projections of VeRA lack the <c>model.</c>.</summary>
    public string FileName => (ModulePath.Length == 0 && PeftPart.IsProjection(Part) ? WrapperPrefix : ModelPrefix) + Name;

    /// <summary>Takes a name from a file apart, with or without PEFT's prefix.</summary>
    /// <remarks>
    /// Only the end of the name tells: modules may be called <c>lora_A</c> or <c>weight</c> themselves. So the parameter of a
    /// saved module that is called like that is taken for an adapter's; only a model can tell them apart.
    /// </remarks>
    internal static (string ModulePath, string Part) Split(string fileName)
    {
        bool isInModel = fileName.StartsWith(ModelPrefix, StringComparison.Ordinal);
        string name = isInModel ? fileName[ModelPrefix.Length..] : fileName;
        string shared = name.StartsWith(WrapperPrefix, StringComparison.Ordinal) ? name[WrapperPrefix.Length..] : name;
        if (!isInModel && PeftPart.IsProjection(shared))
        {
            return ("", shared);
        }

        foreach (string part in PeftPart.OfModules)
        {
            int length = name.Length - part.Length - 1;
            if (length > 0 && name[length] == '.' && name.EndsWith(part, StringComparison.Ordinal))
            {
                return (name[..length], part);
            }
        }

        int dot = name.LastIndexOf('.');
        return dot > 0 && dot < name.Length - 1 ? (name[..dot], name[(dot + 1)..]) : (name, "");
    }

    /// <summary>The path of a module in the model, without what PEFT wraps around it.</summary>
    internal static string Unwrapped(string modulePath) =>
        modulePath.IndexOf(Wrapped + ".", StringComparison.Ordinal) is > 0 and int inner ? modulePath[..inner]
            : modulePath.EndsWith(Wrapped, StringComparison.Ordinal) ? modulePath[..^Wrapped.Length]
            : modulePath;
}
