using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>One of the tensors that a case quantizes.</summary>
internal sealed record BitsandbytesEntry(BitsandbytesCase Case, JsonElement Fields)
{
    private static readonly (string Suffix, ScalarType DType)[] Decodings = [("f32", ScalarType.Float32), ("bf16", ScalarType.BFloat16), ("f16", ScalarType.Float16)];

    public string Name => BitsandbytesCase.Text(Fields, "name");

    public int BlockSize => Fields.GetProperty("blocksize").GetInt32();

    public string Key(string part) => $"{Name}.{part}";

    public bool Has(string part) => Case.Tensors.Has(Key(part));

    public Tensor Read(string part) => Case.Tensors.Read(Key(part));

    /// <summary>The tensor before quantization, which the fields describe too.</summary>
    public Tensor ReadSource()
    {
        Tensor source = Read("source");
        Case.Expect.Require(source.dtype == BitsandbytesCase.Type(Fields, "dtype"), Key("source"), $"is {source.dtype}, the case says otherwise");
        Case.Expect.Require(Fields.GetProperty("shape").EnumerateArray().Select(static size => size.GetInt64()).SequenceEqual(source.shape), Key("source"), "has another shape than the case says");
        return source;
    }

    /// <summary>Demands that a value is the entry's, bit for bit.</summary>
    public void Same(string part, Tensor actual) => Case.Expect.Same(Key(part), actual, Read(part));

    /// <summary>Compares decoded values in every type that the entry has.</summary>
    public void Decoded(Func<ScalarType, Tensor> decode)
    {
        (string Suffix, ScalarType DType)[] due = [.. Decodings.Where(decoding => Has($"dequant_{decoding.Suffix}"))];
        Case.Expect.Require(due.Length > 0, Name, "has no decoded values");
        foreach ((string suffix, ScalarType dtype) in due)
        {
            Case.Decoded(Key($"dequant_{suffix}"), decode(dtype), Read($"dequant_{suffix}"));
        }
    }
}
