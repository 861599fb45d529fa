using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A sum over a layer's inputs that is kept while they pass by; no input is.</summary>
internal abstract class InputStatistics : IDisposable
{
    /// <summary>Adds the inputs of one call.</summary>
    /// <param name="x">The inputs, [..., in].</param>
    /// <param name="kept">Which of the rows of x count, bool [rows]; all where it is <see langword="null"/>.</param>
    public abstract void Add(Tensor x, Tensor? kept);

    /// <summary>The gathered matrix [in, in] in float64, which the caller disposes; <see langword="null"/> where no row was added.</summary>
    public abstract Tensor? Result();

    /// <inheritdoc/>
    public abstract void Dispose();
}
