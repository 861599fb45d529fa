using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>The levels that codes stand for, the thresholds between them, the bins of the 8-bit codes.</summary>
internal static class MapsCheck
{
    public static void Run(BitsandbytesCase subject)
    {
        foreach ((string name, CodeMap map) in ((string, CodeMap)[])[("nf4", CodeMap.Nf4), ("fp4", CodeMap.Fp4)])
        {
            subject.Expect.Same(name, map.On(CPU).Levels, subject.Tensors.Read(name));
            subject.Expect.Same($"{name}_thresholds", map.On(CPU).Thresholds, subject.Tensors.Read($"{name}_thresholds"));
        }

        subject.Expect.Same("fp4_order", CodeMap.Fp4.On(CPU).Order.to(ScalarType.Int64), subject.Tensors.Read("fp4_order"));
        foreach ((string name, CodeMap map) in ((string, CodeMap)[])[("dynamic_signed", CodeMap.DynamicSigned), ("dynamic_unsigned", CodeMap.DynamicUnsigned)])
        {
            subject.Expect.Same(name, map.On(CPU).Levels, subject.Tensors.Read(name));
            byte[] bins = map.On(CPU).Bins.data<byte>().ToArray();
            long[] starts = [.. Enumerable.Range(0, map.Levels.Length).Select(code => (long)Array.IndexOf(bins, (byte)code))];
            subject.Expect.Same($"{name}_lut_start", tensor(starts), subject.Tensors.Read($"{name}_lut_start"));
        }
    }
}
