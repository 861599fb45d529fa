using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>What memory a process needs at most while it runs something.</summary>
internal static class MemoryPeak
{
    /// <summary>Runs the step once to warm the libraries up, and once to watch it.</summary>
    /// <returns>The process's peak resident memory on the CPU; on CUDA what libtorch took of the GPU. Null where it cannot be read.</returns>
    public static long? Of(Device device, Action step)
    {
        step();
        if (device.type == DeviceType.CUDA)
        {
            step();
            return GpuMemory.UsedBytes();
        }

        if (!ResidentPeak.TryReset())
        {
            return null;
        }

        step();
        return ResidentPeak.Bytes();
    }
}
