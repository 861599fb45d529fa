using System.Collections.Concurrent;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What the codes of a number format stand for: 16 or 256 levels within [-1, 1], and how a number finds its code.</summary>
internal sealed class CodeMap
{
    private static readonly List<WeakReference<CodeMap>> Others = [];

    private readonly ConcurrentDictionary<(DeviceType, int), Lazy<CodeMapTensors>> copies = new();

    /// <summary>Makes a map.</summary>
    /// <param name="levels">The level of each code, in any order.</param>
    public CodeMap(float[] levels)
    {
        Levels = levels;
        Order = [.. Enumerable.Range(0, levels.Length).OrderBy(code => levels[code]).Select(static code => (byte)code)];
        Thresholds = [.. Order.Zip(Order[1..], (lower, upper) => (levels[lower] + levels[upper]) * 0.5f)];
        Zero = Order[Thresholds.Count(static threshold => threshold < 0)];
    }

    /// <summary>NF4 (arXiv 2305.14314, appendix E).</summary>
    public static CodeMap Nf4 { get; } = new(
    [
        -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
        -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
        0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
        0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f,
    ]);

    /// <summary>FP4, in units of its largest number, which is 12.</summary>
    public static CodeMap Fp4 { get; } = new(
        [.. ((float[])[0, 0.0625f, 8, 12, 4, 6, 2, 3, 0, -0.0625f, -8, -12, -4, -6, -2, -3]).Select(static level => level / 12)]);

    /// <summary>The dynamic 8-bit type with negative numbers: what double quantization takes.</summary>
    public static CodeMap DynamicSigned { get; } = new(DynamicMap.Create(signed: true));

    /// <summary>The dynamic 8-bit type without negative numbers.</summary>
    public static CodeMap DynamicUnsigned { get; } = new(DynamicMap.Create(signed: false));

    /// <summary>The level of each code.</summary>
    public float[] Levels { get; }

    /// <summary>The codes in the order of their levels.</summary>
    public byte[] Order { get; }

    /// <summary>The midpoints between neighbouring levels; a number on one takes the lower level.</summary>
    public float[] Thresholds { get; }

    /// <summary>The code that the number 0 takes.</summary>
    public byte Zero { get; }

    /// <summary>The map of a 4-bit format.</summary>
    public static CodeMap Of(QuantizationFormat format) => format == QuantizationFormat.Fp4 ? Fp4 : Nf4;

    /// <summary>The map with these levels: one for all that ask for the same, for as long as one of them keeps it.</summary>
    public static CodeMap Of(float[] levels)
    {
        lock (Others)
        {
            Others.RemoveAll(static other => !other.TryGetTarget(out _));
            CodeMap? known = Others.Select(static other => other.TryGetTarget(out CodeMap? map) ? map : null).FirstOrDefault(map => map?.Levels.SequenceEqual(levels) == true);
            if (known is null)
            {
                known = new(levels);
                Others.Add(new(known));
            }

            return known;
        }
    }

    /// <summary>The map as tensors on a device, made once and kept.</summary>
    public CodeMapTensors On(Device device) =>
        copies.GetOrAdd((device.type, device.index), _ => new(() => new CodeMapTensors(this, device))).Value;
}
