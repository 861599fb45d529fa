using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Numerics.Kernels.Quantized;

/// <summary>A tensor that bitsandbytes quantized to four bits.</summary>
/// <param name="Key">The entry's name.</param>
/// <param name="IsNf4">NF4, or FP4.</param>
/// <param name="BlockSize">The elements of a block.</param>
/// <param name="Tensors">The file of the entry's tensors.</param>
internal sealed record FourBitCase(string Key, bool IsNf4, int BlockSize, SafetensorsReader Tensors)
{
    public static readonly string[] Names =
    [
        "q4-nf4-special-f32", "q4-nf4-special-bf16", "q4-nf4-special-f16", "q4-nf4-blocksizes", "q4-fp4-special-f32",
        "q4-fp4-special-bf16", "q4-fp4-special-f16", "q4-fp4-blocksizes", "q4-shapes", "q4-row-straddle",
    ];

    /// <summary>What the codes stand for.</summary>
    public float[] Levels => Map(IsNf4 ? "nf4" : "fp4");

    /// <summary>The codes in the order of what they stand for.</summary>
    public byte[] Order => IsNf4 ? [.. Enumerable.Range(0, 16).Select(code => (byte)code)] : [.. Map("fp4_order").Select(code => (byte)code)];

    /// <summary>Runs a check on every entry of a case; each has a dispose scope of its own.</summary>
    public static int ForEach(string name, Action<FourBitCase> check)
    {
        string folder = SharedFolder.Require("fixtures", "bnb", name);
        using JsonDocument description = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "case.json")));
        using SafetensorsReader tensors = SafetensorsReader.Open(Path.Combine(folder, "tensors.safetensors"));
        int count = 0;
        foreach (JsonElement entry in description.RootElement.GetProperty("entries").EnumerateArray())
        {
            using var scope = NewDisposeScope();
            check(new(
                entry.GetProperty("name").GetString()!, entry.GetProperty("quant_type").GetString() == "nf4",
                entry.GetProperty("blocksize").GetInt32(), tensors));
            count++;
        }

        return count;
    }

    /// <summary>One of the entry's tensors.</summary>
    public Tensor Read(string suffix) => Tensors.Read($"{Key}.{suffix}");

    /// <summary>One of the entry's tensors, if it has it.</summary>
    public Tensor? TryRead(string suffix) => Tensors.TryGetEntry($"{Key}.{suffix}", out _) ? Read(suffix) : null;

    private static float[] Map(string name)
    {
        using var scope = NewDisposeScope();
        using SafetensorsReader maps = SafetensorsReader.Open(SharedFolder.Require("fixtures", "bnb", "maps", "tensors.safetensors"));
        return [.. maps.Read(name).to(ScalarType.Float32).data<float>()];
    }
}
