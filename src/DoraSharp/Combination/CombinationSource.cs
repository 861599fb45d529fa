using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>One adapter of a weight, to be combined with others.</summary>
/// <param name="Adapter">The adapter's name, for messages.</param>
/// <param name="Weight">Its weight in the combination.</param>
/// <param name="A">A [r, in].</param>
/// <param name="B">B [out, r].</param>
/// <param name="Scaling">s.</param>
/// <param name="Magnitude">m [out], for DoRA.</param>
/// <param name="Bias">B's own bias [out], if it has one.</param>
internal sealed record CombinationSource(string Adapter, double Weight, Tensor A, Tensor B, double Scaling, Tensor? Magnitude = null, Tensor? Bias = null)
{
    public int Rank => (int)A.shape[0];

    /// <summary>Throws unless the tensors fit a weight and hold numbers.</summary>
    /// <exception cref="ArgumentException">A shape is wrong.</exception>
    /// <exception cref="InvalidOperationException">A value is not finite.</exception>
    public void Check(FrozenWeight weight)
    {
        Check(A, nameof(A), [Rank, weight.Inputs]);
        Check(B, nameof(B), [weight.Outputs, Rank]);
        Check(Magnitude, nameof(Magnitude), [weight.Outputs]);
        Check(Bias, nameof(Bias), [weight.Outputs]);
        if (!double.IsFinite(Scaling))
        {
            throw new InvalidOperationException($"The scaling of adapter '{Adapter}' is {Scaling}.");
        }
    }

    private void Check(Tensor? tensor, string part, long[] shape)
    {
        if (tensor is null)
        {
            return;
        }

        if (!tensor.shape.SequenceEqual(shape))
        {
            throw new ArgumentException($"{part} of adapter '{Adapter}' is [{string.Join(", ", tensor.shape)}]; the weight needs [{string.Join(", ", shape)}].");
        }

        if (!Finite.All(tensor))
        {
            throw new InvalidOperationException($"{part} of adapter '{Adapter}' holds values that are not finite.");
        }
    }
}
