using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>A quantized linear layer: its state dict, its decoded weight, its forward and backward pass.</summary>
internal static class Linear4bitCheck
{
    public static void Run(BitsandbytesCase subject)
    {
        ScalarType computeType = BitsandbytesCase.Type(subject.Fields, "compute_dtype");
        TensorFile tensors = subject.Tensors, state = subject.File("layer.safetensors");
        Tensor? bias = tensors.TryRead("bias", out Tensor? values) ? values : null;
        if (bias is not null)
        {
            subject.Expect.Same("layer.safetensors: bias", state.Read("bias"), bias);
        }

        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(Path.Combine(subject.Folder, "layer.safetensors"));
        using QuantizedLinear layer = new(BitsandbytesReader.Read(checkpoint, "weight"), bias, computeType);
        FourBitTensor weight = (FourBitTensor)layer.Weight;
        StoredWeight.Check(subject, state, "weight", tensors.Read("source"), weight);
        subject.Decoded("dequant_f32", weight.Dequantize(ScalarType.Float32), tensors.Read("dequant_f32"));
        subject.Decoded("dequant_compute", weight.Dequantize(computeType), tensors.Read("dequant_compute"));

        Tensor x = tensors.Read("x").requires_grad_(true), dy = tensors.Read("dy");
        Tensor y = layer.call(x);
        y.backward([dy]);
        subject.Expect.Require(y.dtype == x.dtype, "y", $"is {y.dtype}, the input is {x.dtype}");
        foreach ((string name, Tensor? actual) in ((string, Tensor?)[])[("y", y), ("dx", x.grad)])
        {
            subject.Expect.Close(name, actual, tensors.Read(name), subject.RelativeTolerance);
            subject.Expect.Close($"{name}_exact", actual, tensors.Read($"{name}_exact"), subject.RelativeTolerance);
        }
    }
}
