using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A <see cref="CodeMap"/> as tensors on one device, which live as long as the map.</summary>
internal sealed class CodeMapTensors
{
    /// <summary>How many equal bins of [-1, 1] bitsandbytes looks 8-bit codes up in, on a CPU.</summary>
    private const int BinCount = 1 << 16;

    private readonly CodeMap map;
    private readonly Device device;
    private readonly Lazy<Tensor> pairs;
    private readonly Lazy<Tensor> bins;

    public CodeMapTensors(CodeMap map, Device device)
    {
        (this.map, this.device) = (map, device);
        Levels = Keep(tensor(map.Levels, device: device));
        Thresholds = Keep(tensor(map.Thresholds, device: device));
        Order = Keep(tensor(map.Order, device: device));
        pairs = new(CreatePairs);
        bins = new(CreateBins);
    }

    /// <summary>The level of each code, float32 [codes].</summary>
    public Tensor Levels { get; }

    /// <summary>The midpoints between neighbouring levels, float32 [codes - 1].</summary>
    public Tensor Thresholds { get; }

    /// <summary>The codes in the order of their levels, uint8 [codes].</summary>
    public Tensor Order { get; }

    /// <summary>The two levels of each byte with two 4-bit codes, the upper half's first, float32 [256, 2].</summary>
    public Tensor Pairs => pairs.Value;

    /// <summary>The code of each bin, uint8 [65536].</summary>
    public Tensor Bins => bins.Value;

    private static Tensor Keep(Tensor tensor) => tensor.DetachFromDisposeScope();

    private Tensor CreatePairs()
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor levels = map.Levels.Length == 16 ? Levels : throw new InvalidOperationException("Only a map of 4 bits has two codes per byte.");
        return Keep(cartesian_prod(levels, levels).contiguous());
    }

    private Tensor CreateBins()
    {
        byte[] codes = new byte[BinCount];
        int rank = 0;
        for (int bin = 0; bin < BinCount; bin++)
        {
            float value = -1 + ((2f * bin) / (BinCount - 1));
            while (rank < map.Thresholds.Length && map.Thresholds[rank] < value)
            {
                rank++;
            }

            codes[bin] = map.Order[rank];
        }

        using var scope = NewDisposeScope();
        return Keep(tensor(codes, device: device));
    }
}
