using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Makes a module from its description.</summary>
internal static class ModuleBuilder
{
    public static nn.Module Build(ModuleDescription module) => module.Type switch
    {
        "Linear" => nn.Linear(module.Integer("in_features"), module.Integer("out_features"), module.Flag("bias", true)),
        "HFConv1D" => new TransposedLinear(module.Integer("nx"), module.Integer("nf")),
        "Embedding" => nn.Embedding(
            module.Integer("num_embeddings"),
            module.Integer("embedding_dim"),
            module.OptionalInteger("padding_idx"),
            module.OptionalNumber("max_norm"),
            module.OptionalNumber("norm_type") ?? 2,
            module.Flag("scale_grad_by_freq", false)),
        "Conv1d" => Convolution1(module),
        "Conv2d" => Convolution2(module),
        "Conv3d" => Convolution3(module),
        "MultiheadAttention" => nn.MultiheadAttention(
            module.Integer("embed_dim"),
            module.Integer("num_heads"),
            bias: module.Flag("bias", true),
            kdim: module.OptionalInteger("kdim"),
            vdim: module.OptionalInteger("vdim")),
        "LayerNorm" => nn.LayerNorm(module.PerDimension("normalized_shape", 1, 0), module.OptionalNumber("eps") ?? 1e-5),
        "Experts" => new Experts(module.Integer("num_experts"), module.Integer("in_features"), module.Integer("out_features"), module.Flag("is_transposed", false)),
        "GatedExperts" => new GatedExperts(module.Integer("num_experts"), module.Integer("in_features"), module.Integer("hidden"), module.Integer("out_features")),
        "RawLinear" => new RawLinear(module.Integer("in_features"), module.Integer("out_features")),
        _ => throw new NotSupportedException($"The suite has no module of type '{module.Type}'."),
    };

    private static TorchSharp.Modules.Conv1d Convolution1(ModuleDescription module)
    {
        long[] stride = module.PerDimension("stride", 1, 1), dilation = module.PerDimension("dilation", 1, 1), kernel = module.PerDimension("kernel_size", 1, 1);
        return IsSame(module)
            ? nn.Conv1d(Inputs(module), Outputs(module), kernel[0], Padding.Same, stride[0], dilation[0], Mode(module), Groups(module), Bias(module))
            : nn.Conv1d(Inputs(module), Outputs(module), kernel[0], stride[0], module.PerDimension("padding", 1, 0)[0], dilation[0], Mode(module), Groups(module), Bias(module));
    }

    private static TorchSharp.Modules.Conv2d Convolution2(ModuleDescription module)
    {
        (long, long) stride = Two(module, "stride", 1), dilation = Two(module, "dilation", 1), kernel = Two(module, "kernel_size", 1);
        return IsSame(module)
            ? nn.Conv2d(Inputs(module), Outputs(module), kernel, Padding.Same, stride, dilation, Mode(module), Groups(module), Bias(module))
            : nn.Conv2d(Inputs(module), Outputs(module), kernel, stride, Two(module, "padding", 0), dilation, Mode(module), Groups(module), Bias(module));
    }

    private static TorchSharp.Modules.Conv3d Convolution3(ModuleDescription module)
    {
        (long, long, long) stride = Three(module, "stride", 1), dilation = Three(module, "dilation", 1), kernel = Three(module, "kernel_size", 1);
        return IsSame(module)
            ? nn.Conv3d(Inputs(module), Outputs(module), kernel, Padding.Same, stride, dilation, Mode(module), Groups(module), Bias(module))
            : nn.Conv3d(Inputs(module), Outputs(module), kernel, stride, Three(module, "padding", 0), dilation, Mode(module), Groups(module), Bias(module));
    }

    private static long Inputs(ModuleDescription module) => module.Integer("in_channels");

    private static long Outputs(ModuleDescription module) => module.Integer("out_channels");

    private static long Groups(ModuleDescription module) => module.OptionalInteger("groups") ?? 1;

    private static bool Bias(ModuleDescription module) => module.Flag("bias", true);

    private static bool IsSame(ModuleDescription module) => module.Text("padding", "") == "same";

    private static PaddingModes Mode(ModuleDescription module) => Enum.Parse<PaddingModes>(module.Text("padding_mode", "zeros"), ignoreCase: true);

    private static (long First, long Second) Two(ModuleDescription module, string name, long fallback) =>
        module.PerDimension(name, 2, fallback) is [long first, long second] ? (first, second) : throw new InvalidDataException($"{name} needs two numbers.");

    private static (long First, long Second, long Third) Three(ModuleDescription module, string name, long fallback) =>
        module.PerDimension(name, 3, fallback) is [long first, long second, long third] ? (first, second, third) : throw new InvalidDataException($"{name} needs three numbers.");
}
