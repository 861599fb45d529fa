using Xunit;
using static TorchSharp.torch;

namespace DoraSharp.Testing;

/// <summary>The GPU of tests that need one; they are skipped where there is none.</summary>
public static class CudaDevice
{
    /// <summary>The first GPU; skips the running test without one.</summary>
    public static Device Require()
    {
        Assert.SkipUnless(cuda.is_available(), "libtorch sees no CUDA device: this takes an NVIDIA GPU and a build with -p:TorchBackend=cuda");
        return CUDA;
    }
}
