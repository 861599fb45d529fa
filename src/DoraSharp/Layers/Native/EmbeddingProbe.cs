using System.Runtime.InteropServices;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Finds out what an embedding does by letting it look up rows of weights whose answers tell.</summary>
internal sealed class EmbeddingProbe
{
    /// <summary>What libtorch adds to a norm before it divides by it.</summary>
    private const double NormGuard = 1e-7;

    private readonly Embedding layer;
    private readonly long rows;
    private readonly long width;

    public EmbeddingProbe(Embedding layer)
    {
        ArgumentNullException.ThrowIfNull(layer);
        this.layer = layer;
        using Parameter weight = layer.weight!;
        (rows, width) = (weight.shape[0], weight.shape[1]);
    }

    public EmbeddingTraits Traits()
    {
        if (rows == 0)
        {
            return new(null, null, 2, false, false);
        }

        // A caller in inference mode could not run the backward pass that tells of the padding.
        using IDisposable recording = inference_mode(false);
        using IDisposable gradients = enable_grad();
        using var scope = NewDisposeScope();
        (double? maxNorm, double normType) = Clipping();
        (long? padding, bool byFrequency, bool sparse) = GradientRules();
        return new(padding, maxNorm, normType, byFrequency, sparse);
    }

    /// <summary>
    /// Each row is looked up once and gets a gradient of 1, or of 0 where it pads. Two rows, one of which does not pad, are
    /// looked up twice: they get 2, or 1 where the frequency divides.
    /// </summary>
    private (long? Padding, bool ByFrequency, bool Sparse) GradientRules()
    {
        Tensor weight = zeros([rows, 1], ScalarType.Float32, CPU).requires_grad_(true);
        Tensor ids = cat([arange(rows, ScalarType.Int64, CPU), arange(Math.Min(rows, 2), ScalarType.Int64, CPU)]);
        Tensor gradient = Gradient(Look(weight, ids), weight);
        bool sparse = gradient.is_sparse;
        Tensor received = (sparse ? gradient.to_dense() : gradient).reshape(rows);
        Tensor padding = received.eq(0).nonzero();
        if (padding.shape[0] > 1)
        {
            throw new NotSupportedException($"Of this embedding's {rows} rows {padding.shape[0]} get no gradient; one padding row at most was expected.");
        }

        return (padding.shape[0] == 1 ? padding.item<long>() : null, received.max().item<float>() == 1, sparse);
    }

    private static Tensor Gradient(Tensor output, Tensor weight)
    {
        try
        {
            // autograd.grad would not hand libtorch's refusal on: it ends the process.
            output.sum().backward();
            return weight.grad!;
        }
        catch (ExternalException exception)
        {
            throw new NotSupportedException("libtorch cannot run this embedding's backward pass. It refuses sparse gradients together with scale_grad_by_freq: make the embedding without one of them.", exception);
        }
    }

    /// <summary>
    /// A row of n equal entries c has the norm c·n^(1/p). Where that exceeds the max norm M, the entries become
    /// M / n^(1/p): with n = 1 they are M itself, with n = 2 they tell p.
    /// </summary>
    private (double? MaxNorm, double NormType) Clipping()
    {
        double c = Math.ScaleB(1, 800);
        double one = Looked(c, 1);
        if (one == c)
        {
            // With p = 0 the norm is the number of entries: one alone is short, a whole row may be too long.
            return Looked(c, width) == c ? (null, 2) : throw UnknownNorm();
        }

        double maxNorm = Single(one);
        if (maxNorm == 0)
        {
            return (0, 2);
        }

        // Where c^p overflows, the norm is infinite and the row becomes zero.
        while (Looked(c, Math.Max(width, 2)) == 0 && c > 1)
        {
            c = Math.ScaleB(1, (int)Math.Log2(c) / 2);
        }

        double normOfTwo = (c * maxNorm / Looked(c, 2)) - NormGuard;
        double normType = Single(1 / Math.Log2(normOfTwo / c));
        double less = c / 4;
        return normType > 0
            && Close(Looked(less, width), Clipped(less, less * Math.Pow(width, 1 / normType), maxNorm))
            && Close(LargerOfTwo(c), Clipped(c, double.IsInfinity(normType) ? c : c * Math.Pow(1 + Math.Pow(2, -normType), 1 / normType), maxNorm))
            ? (maxNorm, normType)
            : throw UnknownNorm();
    }

    private static double Clipped(double entry, double norm, double maxNorm) => norm > maxNorm ? entry * (maxNorm / (norm + NormGuard)) : entry;

    /// <summary>The first entry of a looked-up row that had c in each of its entries.</summary>
    private double Looked(double c, long entries) => entries == 0 ? c : FirstEntry(full([1, entries], c, ScalarType.Float64, CPU));

    /// <summary>The larger entry of the looked-up row (c, c/2): it tells the largest entry's norm from the smallest one's.</summary>
    private double LargerOfTwo(double c) => FirstEntry(tensor([c, c / 2], ScalarType.Float64, CPU).unsqueeze(0));

    private double FirstEntry(Tensor row)
    {
        using var scope = NewDisposeScope();

        // Every row is this one in memory: only one of them is looked up, and clipped.
        Tensor weight = row.expand(rows, -1);
        return Look(weight, zeros([1], ScalarType.Int64, CPU))[0, 0].item<double>();
    }

    private Tensor Look(Tensor weight, Tensor ids)
    {
        using EmbeddingSubstitution substitution = new(layer, weight);
        return layer.forward(ids);
    }

    /// <summary>libtorch keeps both numbers in single precision when it clips.</summary>
    private static double Single(double value) => Close(value, (float)value) ? (float)value : value;

    private static bool Close(double a, double b) => a.Equals(b) || Math.Abs(a - b) <= 1e-9 * Math.Abs(b);

    private static NotSupportedException UnknownNorm() =>
        new("This embedding clips its rows by a norm that is not a p-norm with p > 0 (or by one with so large a p that no length can be measured): make it with another norm_type, or without max_norm.");
}
