using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A trained adapter whose initialization had changed the base weight (PiSSA, OLoRA, CorDA, LoRA-GA), as a plain one of
/// twice the rank for the original base. PEFT: <c>save_pretrained(path_initial_model_for_weight_conversion=...)</c>.
/// </summary>
/// <remarks>
/// With W the original base and W − s·B₀·A₀ the changed one, the changed base with s·B·A equals W with s·[B, −B₀]·[A; A₀].
/// A magnitude stays as it is: DoRA's g ⊙ (...) is of the same sum either way. PEFT drops it.
/// </remarks>
/// <param name="A">[A; A₀], [2r, in].</param>
/// <param name="B">[B, −B₀], [out, 2r].</param>
/// <param name="Magnitude">The trained magnitude, [out], for DoRA.</param>
/// <param name="Alpha">The α that gives the rank 2r the scaling that r had.</param>
internal sealed record PlainAdapter(Tensor A, Tensor B, Tensor? Magnitude, double Alpha) : IDisposable
{
    /// <summary>The rank 2r.</summary>
    public int Rank => (int)A.shape[0];

    /// <summary>Joins an adapter's trained factors with its initial ones.</summary>
    /// <param name="a">The trained A, [r, in].</param>
    /// <param name="b">The trained B, [out, r].</param>
    /// <param name="initialA">A₀, [r, in], as it was when the base was changed.</param>
    /// <param name="initialB">B₀, [out, r].</param>
    /// <param name="alpha">The adapter's α.</param>
    /// <param name="usesRsLora">Whether its scaling is α/√r.</param>
    /// <param name="magnitude">The trained magnitude, [out], for DoRA.</param>
    /// <exception cref="ArgumentException">The factors do not fit each other.</exception>
    public static PlainAdapter From(Tensor a, Tensor b, Tensor initialA, Tensor initialB, double alpha, bool usesRsLora, Tensor? magnitude = null)
    {
        if (!a.shape.SequenceEqual(initialA.shape) || !b.shape.SequenceEqual(initialB.shape) || a.shape[0] != b.shape[1])
        {
            throw new ArgumentException(
                $"Trained factors {Shapes(a, b)} and initial ones {Shapes(initialA, initialB)} are not of one adapter.", nameof(initialA));
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        return new PlainAdapter(
            cat([a, initialA.to(a.dtype).to(a.device)], dim: 0).MoveToOuterDisposeScope(),
            cat([b, initialB.to(b.dtype).to(b.device).neg()], dim: 1).MoveToOuterDisposeScope(),
            magnitude?.detach().clone().MoveToOuterDisposeScope(),
            usesRsLora ? Math.Sqrt(2) * alpha : 2 * alpha);
    }

    /// <summary>The options of the plain adapter: the rank doubles everywhere, and α so that the scaling stays.</summary>
    /// <exception cref="NotSupportedException">The options are not those of an adapter that can be converted.</exception>
    public static LoraOptions OptionsOf(AdapterOptions options)
    {
        if (options is not LoraOptions lora)
        {
            throw new NotSupportedException($"{options.Summary} changes no base weight; save it as it is.");
        }

        if (lora.Initialization == LoraInitialization.Loftq)
        {
            throw new NotSupportedException("LoftQ quantizes the base weight, and an adapter of twice the rank cannot take that back. Save the base with the adapter.");
        }

        double factor = lora.UseRsLora ? Math.Sqrt(2) : 2;
        return lora with
        {
            Rank = 2 * lora.Rank,
            Alpha = factor * lora.Alpha,
            RankPattern = [.. lora.RankPattern.Select(entry => KeyValuePair.Create(entry.Key, 2 * entry.Value))],
            AlphaPattern = [.. lora.AlphaPattern.Select(entry => KeyValuePair.Create(entry.Key, factor * entry.Value))],
            Initialization = LoraInitialization.Kaiming,
            Eva = null,
            Corda = null,
            Loftq = null,
            LoraGa = null,
        };
    }

    /// <summary>A₀ [r, in] and B₀ [out, r] of a weight from the folder of an adapter that has not trained yet.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="path">The weight's path in the names of its tensors.</param>
    /// <param name="trained">The trained adapter.</param>
    /// <exception cref="InvalidDataException">The folder has not these factors.</exception>
    public static (Tensor A, Tensor B) InitialFactors(PeftFolder folder, string path, LowRankAdapter trained)
    {
        (Tensor a, Tensor b) = trained.Factors();
        return (Read(FactorPart.A, a), Read(FactorPart.B, b));

        Tensor Read(FactorPart part, Tensor like)
        {
            (string name, long[] shape) = trained.Geometry.InFile(part, like.shape);
            PeftTensor? tensor = folder.Tensors.FirstOrDefault(tensor => tensor.Name == $"{path}.{name}");
            return tensor is { Value: { } value } && value.shape.SequenceEqual(shape)
                ? value.reshape(like.shape)
                : throw new InvalidDataException($"The initial adapter in '{folder.Path}' has no tensor '{path}.{name}' of the shape [{string.Join(", ", shape)}].");
        }
    }

    /// <summary>Frees the tensors.</summary>
    public void Dispose()
    {
        A.Dispose();
        B.Dispose();
        Magnitude?.Dispose();
    }

    private static string Shapes(Tensor a, Tensor b) => $"A [{string.Join(", ", a.shape)}], B [{string.Join(", ", b.shape)}]";
}
