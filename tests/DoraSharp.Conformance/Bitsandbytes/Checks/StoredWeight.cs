using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>The tensors that hold one quantized weight in a file: as the library reads, makes and writes them.</summary>
internal static class StoredWeight
{
    /// <summary>Demands that both the weight that was read and the source, quantized, are written as the file has them, byte for byte.</summary>
    /// <param name="subject">The case.</param>
    /// <param name="file">The file.</param>
    /// <param name="name">The weight's name there.</param>
    /// <param name="source">The weight before quantization.</param>
    /// <param name="read">The weight that was read.</param>
    public static void Check(BitsandbytesCase subject, TensorFile file, string name, Tensor source, FourBitTensor read)
    {
        QuantizationOptions options = new()
        {
            Format = BitsandbytesCase.Format(subject.Fields),
            BlockSize = subject.Fields.GetProperty("blocksize").GetInt32(),
            DoubleQuantization = subject.Fields.GetProperty("double_quant").GetBoolean(),
        };
        subject.Expect.Require(read.Options == options, name, $"is {read.Options}, the case says {options}");
        subject.Expect.Require(read.DType == source.dtype, name, $"is of a {read.DType} weight, the source is {source.dtype}");
        using FourBitTensor made = FourBitTensor.Create(source, options, read.Nested?.Offset);
        foreach (FourBitTensor weight in (FourBitTensor[])[read, made])
        {
            IReadOnlyDictionary<string, Tensor> written = BitsandbytesWriter.ToTensors(weight, name, file.Read(name).dtype);
            subject.Expect.Require(written.Count == file.Names.Count(other => other == name || other.StartsWith($"{name}.", StringComparison.Ordinal)), name, "has another number of parts");
            foreach ((string key, Tensor value) in written)
            {
                subject.Expect.Same(key, value, file.Read(key));
            }
        }
    }
}
