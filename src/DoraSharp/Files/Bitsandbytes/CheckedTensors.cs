using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The tensors of one quantized weight in a checkpoint; what is read has been compared with what it must be.</summary>
internal sealed class CheckedTensors(SafetensorsCheckpoint checkpoint, BitsandbytesKeys keys)
{
    public bool Has(string name) => checkpoint.TryGetEntry(name, out _);

    /// <summary>What the header says of a tensor that must be there.</summary>
    public SafetensorsEntry Entry(string name) => checkpoint.TryGetEntry(name, out SafetensorsEntry? entry) ? entry : throw Wrong(name, "is missing");

    /// <summary>Checks type and shape by the header.</summary>
    public void Check(string name, ScalarType dtype, params long[] shape)
    {
        SafetensorsEntry entry = Entry(name);
        if (entry.DType != dtype || !entry.Shape.SequenceEqual(shape))
        {
            throw Wrong(name, $"is {entry.DType} [{string.Join(", ", entry.Shape)}]; it must be {dtype} [{string.Join(", ", shape)}]");
        }
    }

    /// <summary>Reads a tensor whose header has been checked.</summary>
    public Tensor Read(string name) => checkpoint.Read(name);

    /// <summary>Reads scales, which must be finite and not negative.</summary>
    public Tensor ReadScales(string name)
    {
        Tensor scales = Read(name);
        if (!Finite.All(scales) || scales.min().item<float>() < 0)
        {
            throw Wrong(name, "has a scale that is negative, infinite or NaN");
        }

        return scales;
    }

    /// <summary>The error of a quantization state that does not fit.</summary>
    public InvalidDataException Wrong(string name, string what, Exception? inner = null) => new(
        $"'{checkpoint.Path}': the quantization state of module '{keys.Module}' cannot be used: '{name}' {what}. Save the model again with bitsandbytes, or load the dense model and quantize it here.", inner);
}
