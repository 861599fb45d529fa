using TorchSharp;

namespace DoraSharp.Testing;

/// <summary>Counts tensors that this thread made and has not disposed: what must stay flat over many steps.</summary>
/// <remarks>Tensors that only the garbage collector would free count as alive. <c>Tensor.TotalCount</c> does not serve: it also counts tensors that became parameters.</remarks>
public static class LiveTensors
{
    /// <summary>The number of live tensors of this thread.</summary>
    public static long Count => DisposeScopeManager.Statistics.ThreadTotalLiveCount;
}
