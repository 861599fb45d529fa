using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What DoRA's magnitude makes of outputs, all of it constant while the parameters stay as they are: vectors [out] in the magnitude's dtype.</summary>
internal sealed class RowGains : IDisposable
{
    /// <summary>Below this gain a row of the output has lost digits to its bias, or is zero: what was scaled cannot be had back from it.</summary>
    private const double Least = 1.0 / 16;

    private int owners = 1;

    private RowGains(Tensor gain, Tensor inverseNorm, Tensor perSum, Tensor? bias, Tensor? offset, Tensor? lostRows) =>
        (Gain, InverseNorm, PerSum, Bias, Offset, LostRows) = (gain, inverseNorm, perSum, bias, offset, lostRows);

    /// <summary>g = m/n; 0 where n is 0.</summary>
    public Tensor Gain { get; }

    /// <summary>1/n; 0 where n is 0.</summary>
    public Tensor InverseNorm { get; }

    /// <summary>What the gradient of m is of Σ dY ⊙ (y − b): 1/m, and 0 for <see cref="LostRows"/> and zero rows.</summary>
    public Tensor PerSum { get; }

    /// <summary>b, if there is a bias.</summary>
    public Tensor? Bias { get; }

    /// <summary>(1 − g) ⊙ b, if there is a bias: what is added to the scaled output, since the bias is never scaled.</summary>
    public Tensor? Offset { get; }

    /// <summary>The indices of the rows that cannot be had back from the output, if there are any.</summary>
    public Tensor? LostRows { get; }

    /// <summary>Computes them.</summary>
    /// <param name="magnitude">m [out].</param>
    /// <param name="norm">n [out].</param>
    /// <param name="bias">b [out], if there is one.</param>
    public static RowGains Of(Tensor magnitude, Tensor norm, Tensor? bias)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        if (FloatMemory.Serves(magnitude) && FloatMemory.Serves(norm))
        {
            (Tensor g, Tensor f, Tensor p, Tensor? lostOnes) = OfFloats(magnitude, norm);
            return Of(g, f, p, bias, lostOnes);
        }

        if (magnitude.dtype == ScalarType.Float32 && magnitude.device_type != DeviceType.CPU)
        {
            return ByTheHost(magnitude, norm, bias);
        }

        Tensor zero = norm.eq(0);
        Tensor divisor = norm.masked_fill(zero, 1);
        Tensor gain = (magnitude / divisor).masked_fill_(zero, 0);
        Tensor inverse = divisor.reciprocal_().masked_fill_(zero, 0);
        Tensor lost = gain.abs().lt(Least).logical_and_(zero.logical_not());
        Tensor perSum = (inverse / gain).masked_fill_(lost, 0).masked_fill_(zero, 0);
        Tensor rows = lost.nonzero().squeeze(1);
        return Of(gain, inverse, perSum, bias, rows.size(0) > 0 ? rows : null);
    }

    /// <summary>The same for another owner, who disposes it as well: the tensors go with the last one. Handles of their own would be made at every call.</summary>
    public RowGains Share()
    {
        Interlocked.Increment(ref owners);
        return this;
    }

    public void Dispose()
    {
        if (Interlocked.Decrement(ref owners) > 0)
        {
            return;
        }

        Gain.Dispose();
        InverseNorm.Dispose();
        PerSum.Dispose();
        Bias?.Dispose();
        Offset?.Dispose();
        LostRows?.Dispose();
    }

    private static RowGains Of(Tensor gain, Tensor inverse, Tensor perSum, Tensor? bias, Tensor? lostRows)
    {
        Tensor? own = bias?.to(gain.dtype).detach();
        Tensor? offset = own is null ? null : (1 - gain) * own;
        return new(Outlive(gain)!, Outlive(inverse)!, Outlive(perSum)!, Outlive(own), Outlive(offset), Outlive(lostRows));
    }

    /// <summary>
    /// The same for vectors on a device, which would take longer over a dozen operations on them than over two copies. It has to be waited for in
    /// any case, to know which rows are lost.
    /// </summary>
    private static RowGains ByTheHost(Tensor magnitude, Tensor norm, Tensor? bias)
    {
        Tensor[] parts = stack([magnitude, norm]).cpu().unbind();
        (Tensor gain, Tensor inverse, Tensor perSum, Tensor? lost) = OfFloats(parts[0], parts[1]);
        Tensor[] values = stack([gain, inverse, perSum]).to(norm.device).unbind();
        return Of(values[0], values[1], values[2], bias, lost?.to(norm.device));
    }

    /// <summary>g, 1/n, the factor of the sums and the lost rows, without a dozen operations on short vectors.</summary>
    private static unsafe (Tensor Gain, Tensor Inverse, Tensor PerSum, Tensor? LostRows) OfFloats(Tensor magnitude, Tensor norm)
    {
        (Tensor gain, Tensor inverse, Tensor perSum) = (empty_like(norm), empty_like(norm), empty_like(norm));
        float* m = FloatMemory.Of(magnitude);
        float* n = FloatMemory.Of(norm);
        float* g = FloatMemory.Of(gain);
        float* f = FloatMemory.Of(inverse);
        float* p = FloatMemory.Of(perSum);
        long rows = norm.size(0);
        List<long> lost = [];
        for (long row = 0; row < rows; row++)
        {
            bool zero = n[row] == 0;
            g[row] = zero ? 0 : m[row] / n[row];
            f[row] = zero ? 0 : 1 / n[row];
            bool isLost = !zero && Math.Abs(g[row]) < Least;
            p[row] = zero || isLost ? 0 : f[row] / g[row];
            if (isLost)
            {
                lost.Add(row);
            }
        }

        return (gain, inverse, perSum, lost.Count > 0 ? tensor(lost) : null);
    }

    private static Tensor? Outlive(Tensor? tensor) => tensor?.DetachFromDisposeScope();
}
