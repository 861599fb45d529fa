using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What a combination gives at one weight: an adapter of scaling 1.</summary>
/// <param name="A">A [rank, in].</param>
/// <param name="B">B [out, rank].</param>
/// <param name="Magnitude">m [out]; null without magnitudes.</param>
/// <param name="Bias">B's own bias [out]; null where no adapter has one.</param>
internal sealed record CombinedUpdate(Tensor A, Tensor B, Tensor? Magnitude, Tensor? Bias) : IDisposable
{
    public void Dispose()
    {
        A.Dispose();
        B.Dispose();
        Magnitude?.Dispose();
        Bias?.Dispose();
    }
}
