using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>How to measure.</summary>
/// <param name="IsShort">Whether to keep to what the targets speak of.</param>
/// <param name="Device">Where to compute.</param>
/// <param name="Threads">libtorch's threads.</param>
/// <param name="CountsCpuTime">Whether the time that one thread computes counts, in place of the time on the wall.</param>
/// <param name="Seconds">A full run's time for one item, such as a scenario.</param>
/// <param name="MeasuresPeak">Whether methods also run in processes of their own, for their peak memory.</param>
internal sealed record RunSettings(bool IsShort, Device Device, int Threads, bool CountsCpuTime, double Seconds, bool MeasuresPeak)
{
    public bool IsOnGpu => Device.type == DeviceType.CUDA;

    /// <summary>What steps are timed with, in milliseconds.</summary>
    public Func<double> Clock => CountsCpuTime ? Clocks.ThreadCpu : Clocks.WallOf(Device);

    public override string ToString() => $"{Names.Of(Device)}, libtorch threads: {Threads}, {(CountsCpuTime ? "CPU time" : "wall time")}";
}
