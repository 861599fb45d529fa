using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// The products of <see cref="LowRankForward"/>, <see cref="OutputSide"/> and <see cref="InputSide"/> for one token or two, straight from the
/// factors: to put these in the order in which <see cref="PanelKernel"/> reads them would take longer than the products do.
/// </summary>
internal static unsafe class FewTokens
{
    /// <summary>The most tokens for which this is the faster way.</summary>
    private const int Most = 2;

    /// <summary>The outputs whose part of dH is summed by itself: rounding then grows with the root of the number of sums.</summary>
    private const int Chunk = 128;

    /// <summary>Whether there are few enough.</summary>
    public static bool Serves(long tokens, DropoutMask? mask = null) => tokens <= Most && mask is null;

    /// <inheritdoc cref="LowRankForward.Run"/>
    public static Tensor Forward(Tensor x, Tensor y, Tensor a, Tensor b, double scaling, RowGains? gains)
    {
        (long tokens, long inputs, long outputs, long rank) = (x.size(0), x.size(1), y.size(1), a.size(0));
        Tensor h = empty(tokens, rank, dtype: ScalarType.Float32, device: CPU);
        float* input = FloatMemory.Of(x);
        float* output = FloatMemory.Of(y);
        float* down = FloatMemory.Of(a);
        float* up = FloatMemory.Of(b);
        float* hidden = FloatMemory.Of(h);
        float* gain = FloatMemory.Of(gains?.Gain);
        float* offset = FloatMemory.Of(gains?.Offset);
        RowBlocks.Run(rank, tokens * inputs, 1, (first, end) =>
        {
            for (long k = first; k < end; k++)
            {
                for (long token = 0; token < tokens; token++)
                {
                    hidden[(token * rank) + k] = (float)scaling * RowMath.Dot(down + (k * inputs), input + (token * inputs), inputs);
                }
            }
        });
        RowBlocks.Run(outputs, tokens * rank, 1, (first, end) =>
        {
            for (long row = first; row < end; row++)
            {
                for (long token = 0; token < tokens; token++)
                {
                    float* place = output + (token * outputs) + row;
                    float sum = *place + RowMath.Dot(up + (row * rank), hidden + (token * rank), rank);
                    *place = gain is null ? sum : (sum * gain[row]) + (offset is null ? 0 : offset[row]);
                }
            }
        });
        return h;
    }

    /// <inheritdoc cref="OutputSide.Run"/>
    public static OutputGradients Output(Tensor gradient, Tensor b, double scaling, Tensor? h, Tensor? gain, Tensor? y, Tensor? centre, bool wantsDh)
    {
        (long tokens, long outputs, long rank) = (gradient.size(0), gradient.size(1), b.size(1));
        Tensor? scaled = gain is null ? null : gradient * gain;
        Tensor? sums = y is null ? null : (gradient * (centre is null ? y : y - centre)).sum(dim: 0);
        Tensor? dB = h is null ? null : empty(outputs, rank, dtype: ScalarType.Float32, device: CPU);
        Tensor? dH = wantsDh ? zeros(1, tokens, rank, dtype: ScalarType.Float32, device: CPU) : null;
        float* source = FloatMemory.Of(scaled ?? gradient);
        float* up = FloatMemory.Of(b);
        float* hidden = FloatMemory.Of(h);
        float* upGradient = FloatMemory.Of(dB);
        float* hiddenGradient = FloatMemory.Of(dH);
        using FloatBuffer part = new(rank);
        for (long token = 0; token < tokens; token++)
        {
            float* factors = source + (token * outputs);
            for (long first = 0; first < outputs; first += Chunk)
            {
                long end = Math.Min(outputs, first + Chunk);
                part.Clear();
                for (long row = first; row < end; row++)
                {
                    if (hiddenGradient is not null)
                    {
                        RowMath.Multiply(up + (row * rank), factors[row], part.Start, rank, adds: true);
                    }

                    if (hidden is not null)
                    {
                        RowMath.Multiply(hidden + (token * rank), factors[row], upGradient + (row * rank), rank, adds: token > 0);
                    }
                }

                if (hiddenGradient is not null)
                {
                    RowMath.Multiply(part.Start, (float)scaling, hiddenGradient + (token * rank), rank, adds: true);
                }
            }
        }

        return new(scaled, sums, dB, dH);
    }

    /// <inheritdoc cref="InputSide.Run"/>
    public static Tensor? Input(Tensor x, Tensor dH, Tensor a, Tensor? dX, bool wantsA)
    {
        (long tokens, long inputs, long rank) = (x.size(0), x.size(1), a.size(0));
        Tensor? dA = wantsA ? empty_like(a) : null;
        float* input = FloatMemory.Of(x);
        float* hiddenGradient = FloatMemory.Of(dH);
        float* down = FloatMemory.Of(a);
        float* inputGradient = FloatMemory.Of(dX);
        float* downGradient = FloatMemory.Of(dA);
        for (long k = 0; k < rank; k++)
        {
            for (long token = 0; token < tokens; token++)
            {
                float factor = hiddenGradient[(token * rank) + k];
                if (inputGradient is not null)
                {
                    RowMath.Multiply(down + (k * inputs), factor, inputGradient + (token * inputs), inputs, adds: true);
                }

                if (downGradient is not null)
                {
                    RowMath.Multiply(input + (token * inputs), factor, downGradient + (k * inputs), inputs, adds: token > 0);
                }
            }
        }

        return dA;
    }
}
