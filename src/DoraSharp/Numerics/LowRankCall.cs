using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>One call of a linear layer with one adapter: what <see cref="LowRankStep"/> computes from.</summary>
/// <param name="X">The layer's input [..., in].</param>
/// <param name="BaseOutput">W x + b [..., out], which is overwritten.</param>
/// <param name="Weight">W [out, in], which gets no gradient.</param>
/// <param name="Stored">What W is stored as now.</param>
/// <param name="Bias">b [out], if the layer has one.</param>
/// <param name="A">A [r, in].</param>
/// <param name="B">B [out, r].</param>
/// <param name="Scaling">s.</param>
/// <param name="Magnitude">m [out], if the adapter is decomposed.</param>
/// <param name="Gains">What the magnitude amounts to; of its own for this call.</param>
/// <param name="Mask">The dropout of the adapter's input, if it acts; of its own for this call.</param>
internal sealed record LowRankCall(Tensor X, Tensor BaseOutput, FrozenWeight Weight, Tensor Stored, Tensor? Bias, Tensor A, Tensor B, double Scaling, Tensor? Magnitude, RowGains? Gains, DropoutMask? Mask)
{
    /// <summary>What the output is a differentiable function of.</summary>
    public Tensor[] Inputs() => (Magnitude, Bias) switch
    {
        (null, null) => [X, A, B],
        ({ } m, null) => [X, A, B, m],
        (null, { } b) => [X, A, B, b],
        ({ } m, { } b) => [X, A, B, m, b],
    };
}
