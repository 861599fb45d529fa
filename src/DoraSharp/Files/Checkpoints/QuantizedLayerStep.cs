using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Puts a quantized layer in the place of a linear one.</summary>
/// <param name="name">The weight's name in the model.</param>
/// <param name="layer">The linear layer, which is disposed.</param>
/// <param name="slots">All that hold it.</param>
/// <param name="weight">The weight's name in the file.</param>
/// <param name="bias">The bias's name in the file, if the layer has one.</param>
/// <param name="isStored">Whether the weight is quantized in the file.</param>
internal sealed class QuantizedLayerStep(string name, Linear layer, IReadOnlyList<ModuleSlot> slots, string weight, string? bias, bool isStored) : CheckpointStep(name)
{
    /// <summary>The weight in the file, if it is to be quantized.</summary>
    public string? DenseSource => isStored ? null : weight;

    public override void Run(SafetensorsCheckpoint checkpoint, CheckpointOptions options, CheckpointBuffer buffer)
    {
        using var scope = NewDisposeScope();
        ScalarType dtype = layer.weight.dtype;
        Device device = layer.weight.is_meta ? options.Device ?? CPU : layer.weight.device;
        Tensor? stored = bias is null ? null : checkpoint.Read(bias, device).to(dtype);
        QuantizedTensor quantized = isStored ? BitsandbytesReader.Read(checkpoint, weight, device, rowsDType: dtype) : Quantize(checkpoint, options, buffer, device);
        QuantizedLinear replacement;
        try
        {
            replacement = new(quantized, stored, (isStored ? options.ComputeType : options.Quantization!.ComputeType) ?? dtype);
        }
        catch
        {
            quantized.Dispose();
            throw;
        }

        replacement.train(layer.training);
        foreach (ModuleSlot slot in slots)
        {
            slot.Set(replacement);
        }

        layer.Dispose();
    }

    // On the CPU, whatever the device: codes are an eighth of what would have to be moved.
    private QuantizedTensor Quantize(SafetensorsCheckpoint checkpoint, CheckpointOptions options, CheckpointBuffer buffer, Device device)
    {
        using Tensor dense = buffer.Read(weight);
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
