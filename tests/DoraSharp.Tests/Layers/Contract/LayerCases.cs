using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Contract;

/// <summary>The layers of the contract.</summary>
internal static class LayerCases
{
    public static IReadOnlyList<LayerCase> All { get; } =
    [
        new LinearCase("linear", transposed: false, hasBias: true, [3, 5]),
        new LinearCase("linear without bias, one vector", transposed: false, hasBias: false, []),
        new LinearCase("transposed linear", transposed: true, hasBias: true, [2, 3, 4]),
        new LinearCase("transposed linear without bias", transposed: true, hasBias: false, [7]),
        new QuantizedLinearCase("quantized linear", new QuantizationOptions(), hasBias: true, [3, 5]),
        new QuantizedLinearCase("quantized linear without bias, one vector", new QuantizationOptions { Format = QuantizationFormat.Fp4, BlockSize = 32, DoubleQuantization = false }, hasBias: false, []),
        new QuantizedLinearCase("linear of int8 rows", new QuantizationOptions { Format = QuantizationFormat.Int8Rows }, hasBias: true, [2, 3, 4]),
        new QuantizedLinearCase("linear of 8-bit blocks", new QuantizationOptions { Format = QuantizationFormat.Blockwise8, BlockSize = 128 }, hasBias: false, [7]),
        new EmbeddingCase("embedding", [3, 5]),
        new EmbeddingCase("quantized embedding", [3, 5], options: new QuantizationOptions()),
        new EmbeddingCase("embedding of int8 rows, int32 tokens", [4], ScalarType.Int32, new QuantizationOptions { Format = QuantizationFormat.Int8Rows }),
        new EmbeddingCase("embedding of one int32 token", [], ScalarType.Int32),
        new ConvolutionCase("conv1d", 3) { Stride = 2, Padding = 1 },
        new ConvolutionCase("conv1d, dilated, same, reflect", 4) { Dilation = 2, IsSame = true, Mode = PaddingModes.Reflect },
        new ConvolutionCase("conv1d, groups of PEFT, unbatched", 3) { Groups = 2, IsBatched = false, Padding = 2 },
        new ConvolutionCase("conv2d", 3, 2) { Stride = 2, Padding = 1, Dilation = 2 },
        new ConvolutionCase("conv2d of one place without bias, unbatched", 1, 1) { HasBias = false, IsBatched = false },
        new ConvolutionCase("conv2d, circular", 3, 3) { Padding = 2, Mode = PaddingModes.Circular },
        new ConvolutionCase("conv2d, replicate, same", 3, 3) { Dilation = 2, IsSame = true, Mode = PaddingModes.Replicate },
        new ConvolutionCase("conv2d, groups of PEFT", 3, 2) { Groups = 2, Stride = 2, Padding = 1, Mode = PaddingModes.Circular },
        new ConvolutionCase("conv2d, mergeable groups", 3, 2) { Groups = 2, IsSame = true, Update = GroupedUpdate.Mergeable },
        new ConvolutionCase("conv3d", 2, 3, 1) { Padding = 1, Dilation = 2 },
        new ConvolutionCase("conv3d, mergeable groups, unbatched", 1, 1, 2) { Groups = 2, Stride = 2, IsBatched = false, Update = GroupedUpdate.Mergeable },
    ];

    public static LayerCase Of(string name) => All.Single(layer => layer.Name == name);
}
