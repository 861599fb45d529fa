using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What a fresh adapter starts with, and what its base weight becomes.</summary>
/// <param name="A">A [rank, in].</param>
/// <param name="B">B [out, rank].</param>
/// <param name="Residual">The new base weight [out, in] in the old one's dtype; <see langword="null"/> where the method leaves the base alone.</param>
internal sealed record InitialFactors(Tensor A, Tensor B, Tensor? Residual = null) : IDisposable
{
    /// <summary><see cref="Residual"/> as a base of quantized storage holds it, where the method has quantized it.</summary>
    public QuantizedTensor? Quantized { get; init; }

    /// <summary>Rounds factors and leaves the base alone.</summary>
    public static InitialFactors Of(Tensor a, Tensor b, ScalarType dtype) => new(Rounded(a, dtype), Rounded(b, dtype));

    /// <summary>
    /// Rounds factors and takes s·B·A of them out of the base: W − s·B·A, computed from the rounded factors in float64 and
    /// rounded once, so that base and adapter together are W up to that one rounding.
    /// </summary>
    public static InitialFactors TakenFrom(Tensor weight, Tensor a, Tensor b, double scaling, ScalarType dtype)
    {
        InitialFactors factors = Of(a, b, dtype);

        // Not addmm with a factor: TorchSharp rounds that factor to float32.
        Tensor update = factors.B.to(ScalarType.Float64).matmul(factors.A.to(ScalarType.Float64)).mul_(scaling);
        return factors with { Residual = weight.detach().to(ScalarType.Float64).sub(update).to(weight.dtype) };
    }

    /// <summary>The same for s·B·A = U diag(S) Vᵀ, its singular values shared evenly: A = √(S/|s|) Vᵀ, B = ±U √(S/|s|).</summary>
    public static InitialFactors TakenFrom(Tensor weight, SingularTriples triples, double scaling, ScalarType dtype)
    {
        (Tensor a, Tensor b) = Balanced(triples, scaling);
        return TakenFrom(weight, a, b, scaling, dtype);
    }

    /// <summary>A and B with s·B·A = U diag(S) Vᵀ and the singular values shared evenly between them.</summary>
    /// <exception cref="ArgumentOutOfRangeException">s is zero: no factors can make up for that.</exception>
    public static (Tensor A, Tensor B) Balanced(SingularTriples triples, double scaling)
    {
        if (scaling == 0)
        {
            throw new ArgumentOutOfRangeException(nameof(scaling), scaling, "This initialization divides by the scaling; set an alpha that is not 0.");
        }

        Tensor root = (triples.S / Math.Abs(scaling)).sqrt();
        return (root.unsqueeze(1) * triples.Vt, triples.U * (root * Math.Sign(scaling)));
    }

    /// <summary>Moves the tensors to the dispose scope around the current one.</summary>
    public InitialFactors MoveToOuterDisposeScope()
    {
        A.MoveToOuterDisposeScope();
        B.MoveToOuterDisposeScope();
        Residual?.MoveToOuterDisposeScope();
        return this;
    }

    /// <summary>Frees the tensors.</summary>
    public void Dispose()
    {
        A.Dispose();
        B.Dispose();
        Residual?.Dispose();
        Quantized?.Dispose();
    }

    /// <summary>Throws unless a decomposition of the weight has enough triples.</summary>
    /// <param name="weight">The weight [out, in].</param>
    /// <param name="needed">How many triples the method takes.</param>
    /// <param name="method">The method's name, for the message.</param>
    /// <exception cref="ArgumentException">The weight's smaller side is less than that.</exception>
    internal static void CheckRank(Tensor weight, long needed, string method)
    {
        long most = Math.Min(weight.shape[0], weight.shape[1]);
        if (needed > most)
        {
            throw new ArgumentException(
                $"{method} takes {needed} singular vectors of a weight [{weight.shape[0]}, {weight.shape[1]}], which has {most}. " +
                $"Give this layer a lower rank with {nameof(LoraOptions)}.{nameof(LoraOptions.RankPattern)}, or exclude it.", nameof(weight));
        }
    }

    // A copy: a slice of a decomposition would keep all of it in memory, and its strides.
    private static Tensor Rounded(Tensor factor, ScalarType dtype) => factor.to(dtype, copy: true).contiguous();
}
