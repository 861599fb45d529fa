using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Puts a quantized layer in the place of a linear one or of an embedding.</summary>
/// <param name="name">The weight's name in the model.</param>
/// <param name="layer">The dense layer.</param>
/// <param name="slots">All that hold it.</param>
/// <param name="weight">The weight's name in the file.</param>
/// <param name="bias">The bias's name in the file, if the layer has one.</param>
/// <param name="isStored">Whether the weight is quantized in the file.</param>
/// <param name="isShared">Whether others hold the layer's tensors, so that it is not disposed.</param>
internal sealed class QuantizedLayerStep(
    string name, nn.Module<Tensor, Tensor> layer, IReadOnlyList<ModuleSlot> slots, string weight, string? bias, bool isStored, bool isShared) : CheckpointStep(name)
{
    /// <summary>The weight in the file, if it is to be quantized.</summary>
    public string? DenseSource => isStored ? null : weight;

    public override void Run(SafetensorsCheckpoint checkpoint, CheckpointOptions options, CheckpointBuffer buffer)
    {
        using var scope = NewDisposeScope();
        Parameter model = layer.get_parameter("weight")!;
        ScalarType dtype = model.dtype;
        Device device = model.is_meta ? options.Device ?? CPU : model.device;
        ScalarType computeType = (isStored ? options.ComputeType : options.Quantization!.ComputeType) ?? dtype;
        Tensor? stored = bias is null ? null : checkpoint.Read(bias, device).to(dtype);
        stored?.requires_grad = layer.get_parameter("bias")!.requires_grad;
        QuantizedTensor quantized = isStored ? BitsandbytesReader.Read(checkpoint, weight, device, rowsDType: dtype) : Quantize(checkpoint, options, buffer, dtype, device);
        QuantizedLayer replacement;
        try
        {
            replacement = layer is Embedding ? new QuantizedEmbedding(quantized, computeType) : new QuantizedLinear(quantized, stored, computeType);
        }
        catch
        {
            quantized.Dispose();
            throw;
        }

        QuantizedReplacement.Put(layer, replacement, slots, isShared);
    }

    // On the CPU, whatever the device: codes are an eighth of what would have to be moved.
    private QuantizedTensor Quantize(SafetensorsCheckpoint checkpoint, CheckpointOptions options, CheckpointBuffer buffer, ScalarType dtype, Device device)
    {
        // Converted as loading would, so that the layer is the one that quantizing the loaded model gives.
        using Tensor dense = buffer.Read(weight, dtype);
        try
        {
            QuantizedTensor quantized = QuantizedTensor.Quantize(dense, options.Quantization!.Quantization);
            if (device.type == TorchSharp.DeviceType.CPU)
            {
                return quantized;
            }

            using (quantized)
            {
                return quantized.To(device);
            }
        }
        catch (ArgumentException e)
        {
            throw new ArgumentException($"'{checkpoint.Path}': '{weight}' cannot be quantized: {e.Message} Leave its layer out by {nameof(ModelQuantizationOptions.ExcludeModules)} to load it as it is.", e);
        }
    }
}
