using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A and B random with B·A = 0 although neither is zero, so that both get gradients from the first step on:
/// the rows of one orthogonal [r, r] matrix are split between them. PEFT: <c>init_lora_weights="orthogonal"</c>.
/// </summary>
internal static class OrthogonalInitializer
{
    /// <summary>The size of the factors' elements, PEFT's.</summary>
    private const double Size = 0.1;

    /// <summary>A = (X Q₁)ᵀ/10, B = Y Q₂/10, with X [in, r/2] and Y [out, r/2] normal and Q₁, Q₂ alternate rows of Q.</summary>
    /// <param name="outputs">out.</param>
    /// <param name="inputs">in.</param>
    /// <param name="rank">r, even.</param>
    /// <param name="dtype">The factors' dtype.</param>
    /// <param name="device">Where they shall live.</param>
    /// <param name="generator">The source of random numbers; TorchSharp's default one if there is none.</param>
    /// <exception cref="ArgumentException">The rank is odd.</exception>
    public static InitialFactors Create(long outputs, long inputs, int rank, ScalarType dtype, Device? device = null, Generator? generator = null)
    {
        if (rank % 2 != 0)
        {
            throw new ArgumentException($"The orthogonal initialization needs an even rank, for half of the directions go to A and half to B; given: {rank}.", nameof(rank));
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor halves = linalg.qr(Normal(rank, rank)).Q.reshape(rank / 2, 2, rank);
        Tensor a = Normal(inputs, rank / 2).matmul(halves.select(1, 0)).t().mul(Size);
        Tensor b = Normal(outputs, rank / 2).matmul(halves.select(1, 1)).mul(Size);
        return InitialFactors.Of(a, b, dtype).MoveToOuterDisposeScope();

        Tensor Normal(long rows, long columns) =>
            randn(rows, columns, dtype: ScalarType.Float64, device: generator?.device ?? CPU, generator: generator).to(device ?? CPU);
    }
}
