using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>Whether an NVIDIA GPU can be used.</summary>
internal static class Cuda
{
    /// <summary>Asks libtorch.</summary>
    /// <param name="reason">Why there is none, and the way out.</param>
    public static bool IsAvailable(out string reason)
    {
        bool available = cuda.is_available();
        reason = available
            ? string.Empty
            : "libtorch sees no CUDA device. It takes a machine with an NVIDIA GPU and a build with -p:TorchBackend=cuda (TorchSharp-cuda-linux).";
        return available;
    }
}
