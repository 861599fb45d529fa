using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Makes the factors A [r, in] and B [out, r] of a fresh adapter.</summary>
internal static class LoraInitializer
{
    /// <summary>The factors that the options ask for, and the new base weight where the method changes it.</summary>
    /// <param name="options">The layer's own options: its rank and alpha.</param>
    /// <param name="weight">W, seen as a matrix [out, in].</param>
    /// <param name="dtype">The factors' dtype.</param>
    /// <param name="geometry">How the layer uses W. Embeddings know but <see cref="LoraInitialization.Random"/> and the default, as in PEFT.</param>
    /// <param name="data">What the method gathered of this layer, seen like W: see <see cref="InitializationData"/>.</param>
    /// <exception cref="InvalidOperationException">The method needs data and there is none.</exception>
    /// <exception cref="ArgumentException">The method cannot be applied to this weight or with this rank.</exception>
    public static InitialFactors Initialize(
        LoraOptions options, FrozenWeight weight, Geometry geometry, ScalarType dtype, Tensor? data = null)
    {
        LoraInitialization kind = options.Initialization;
        if (IsPlain(kind) || geometry.Kind == LayerKind.Embedding)
        {
            return Plain(options, weight, geometry, dtype);
        }

        if (geometry.ShapeOfB(weight.Outputs, options.Rank)[1] != options.Rank || geometry.Kind == LayerKind.Parameter)
        {
            throw new NotSupportedException($"The initialization {kind} needs an update that is one product B·A; a {geometry.Kind} with groups, or of several experts, has another. Use {LoraInitialization.Kaiming}.");
        }

        if (kind == LoraInitialization.Orthogonal)
        {
            return OrthogonalInitializer.Create(weight.Outputs, weight.Inputs, options.Rank, dtype, weight.Device);
        }

        if (kind == LoraInitialization.Eva)
        {
            return EvaInitializer.Create(weight.Outputs, Needed(data, kind).to(weight.Device), options.Rank, options.Eva?.Whiten ?? false, dtype);
        }

        if (weight.Quantization is { } quantization)
        {
            return OverQuantized(options, quantization, weight, options.Scaling * geometry.TimesAdded(options), dtype, data);
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        return Decompose(options, options.Scaling * geometry.TimesAdded(options), weight.Dense(), dtype, data).MoveToOuterDisposeScope();
    }

    /// <summary>LoftQ, which knows what quantization loses; what other methods leave of the base would be lost to it.</summary>
    private static InitialFactors OverQuantized(LoraOptions options, QuantizationOptions quantization, FrozenWeight weight, double scaling, ScalarType dtype, Tensor? original)
    {
        if (options.Initialization != LoraInitialization.Loftq)
        {
            throw new NotSupportedException(
                $"The initialization {options.Initialization} takes its update out of the base weight, which is quantized here and would lose more than that by being quantized again. " +
                $"Use {LoraInitialization.Loftq}, or initialize over the dense model, save by {nameof(AdaptedModel.SavePlain)}, and load that over the quantized one.");
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor w = (original ?? throw new InvalidOperationException(
            $"LoftQ over a quantized layer needs the weight that the layer was made of: give it by {nameof(InjectionOptions)}.{nameof(InjectionOptions.OriginalWeight)}.")).to(weight.Device);
        return LoftqInitializer.Create(w, options.Rank, scaling, (options.Loftq ?? new()).Iterations, dtype, quantization).MoveToOuterDisposeScope();
    }

    private static InitialFactors Decompose(LoraOptions options, double scaling, Tensor weight, ScalarType dtype, Tensor? data)
    {
        (int rank, LoraInitialization kind) = (options.Rank, options.Initialization);
        return kind switch
        {
            { Iterations: > 0 } => PissaInitializer.Fast(weight, rank, scaling, kind.Iterations, dtype),
            _ when kind == LoraInitialization.Pissa => PissaInitializer.Exact(weight, rank, scaling, dtype),
            _ when kind == LoraInitialization.Olora => OloraInitializer.Create(weight, rank, scaling, dtype),
            _ when kind == LoraInitialization.Loftq => LoftqInitializer.Create(weight, rank, scaling, (options.Loftq ?? new()).Iterations, dtype),
            _ when kind == LoraInitialization.Corda =>
                CordaInitializer.Create(weight, Needed(data, kind).to(weight.device), rank, scaling, (options.Corda ?? new()).Method, dtype),
            _ when kind == LoraInitialization.LoraGa =>
                LoraGaInitializer.Create(weight, Needed(data, kind).to(weight.device), rank, scaling, options.LoraGa ?? new(), dtype),
            _ => throw new NotSupportedException($"The initialization {kind} is not supported."),
        };
    }

    private static InitialFactors Plain(LoraOptions options, FrozenWeight weight, Geometry geometry, ScalarType dtype)
    {
        using var noGrad = no_grad();
        bool random = options.Initialization == LoraInitialization.Random;
        Tensor a = zeros(geometry.ShapeOfA(weight.Inputs, options.Rank), dtype: dtype, device: weight.Device);
        Tensor b = zeros(geometry.ShapeOfB(weight.Outputs, options.Rank), dtype: dtype, device: weight.Device);
        if (geometry.Kind == LayerKind.Embedding)
        {
            b.normal_();
            return new(random ? a.normal_() : a, b);
        }

        if (options.Initialization == LoraInitialization.Gaussian)
        {
            a.normal_(0, 1.0 / options.Rank);
        }
        else
        {
            KaimingUniform(a, weight.Inputs);
        }

        if (random)
        {
            KaimingUniform(b, b.shape[1]);
        }

        return new(a, b);
    }

    /// <summary>Kaiming uniform with a = √5, PyTorch's default for linear layers and convolutions: ±1/√(fan in).</summary>
    private static void KaimingUniform(Tensor factor, long fanIn) => factor.uniform_(-1 / Math.Sqrt(fanIn), 1 / Math.Sqrt(fanIn));

    private static bool IsPlain(LoraInitialization kind) =>
        kind == LoraInitialization.Kaiming || kind == LoraInitialization.Gaussian || kind == LoraInitialization.Random;

    private static Tensor Needed(Tensor? data, LoraInitialization kind) => data ?? throw new InvalidOperationException(
        $"The initialization {kind} needs data of the layer, gathered before injection: see {nameof(DataCollector)}.");
}
