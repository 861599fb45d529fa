using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>h = s·A drop(x) and y = g ⊙ (y + B h) + c, in one pass over x and one over y.</summary>
internal static unsafe class LowRankForward
{
    /// <summary>Overwrites y and returns h [tokens, r].</summary>
    /// <param name="x">[tokens, in].</param>
    /// <param name="y">W x + b, [tokens, out]; off the CPU it may have another dtype than the rest.</param>
    /// <param name="a">A [r, in].</param>
    /// <param name="b">B [out, r].</param>
    /// <param name="scaling">s.</param>
    /// <param name="gains">g and c, if there is a magnitude.</param>
    /// <param name="mask">The dropout of x, if it acts.</param>
    public static Tensor Run(Tensor x, Tensor y, Tensor a, Tensor b, double scaling, RowGains? gains, DropoutMask? mask)
    {
        if (!FastProducts.Serve(x.size(1), x, a) || !FastProducts.Serve(y.size(1), y, b, gains?.Gain, gains?.Offset) || mask is GivenMask)
        {
            return ByOperations(x, y, a, b, scaling, gains, mask);
        }

        long tokens = x.size(0);
        if (FewTokens.Serves(tokens, mask))
        {
            return FewTokens.Forward(x, y, a, b, scaling, gains);
        }

        Tensor h = empty(tokens, a.size(0), dtype: ScalarType.Float32, device: CPU);
        using Panels down = Panels.OfTransposed(FloatMemory.Of(a), x.size(1), a.size(0));
        using Panels up = Panels.OfTransposed(FloatMemory.Of(b), a.size(0), y.size(1));
        Call call = new(
            FloatMemory.Of(x),
            FloatMemory.Of(y),
            FloatMemory.Of(h),
            down,
            up,
            (float)scaling,
            FloatMemory.Of(gains?.Gain),
            FloatMemory.Of(gains?.Offset),
            mask is CountedMask counted ? new MaskedRows(counted, x.size(1)) : null);
        RowBlocks.Run(tokens, a.size(0) * (x.size(1) + y.size(1)) / 8, PanelKernel.Rows, call.RunTokens);
        return h;
    }

    private static Tensor ByOperations(Tensor x, Tensor y, Tensor a, Tensor b, double scaling, RowGains? gains, DropoutMask? mask)
    {
        Tensor h = (mask?.Apply(x) ?? x).mm(a.t()).mul_(scaling);
        if (y.dtype != h.dtype)
        {
            AddRoundingOnce(y, h, b, gains);
            return h;
        }

        y.addmm_(h, b.t());
        if (gains is not null)
        {
            GainKernel.Scale(y, gains.Gain, gains.Offset);
        }

        return h;
    }

    /// <summary>The same sum for a y of less precision, which is rounded when all is added up and never copied.</summary>
    private static void AddRoundingOnce(Tensor y, Tensor h, Tensor b, RowGains? gains)
    {
        if (gains is null)
        {
            y.add_(h.mm(b.t()));
            return;
        }

        Tensor sum = h.mm((b * gains.Gain.unsqueeze(1)).t()).addcmul_(y, gains.Gain, 1);
        y.copy_(gains.Offset is { } offset ? sum.add_(offset) : sum);
    }

    private sealed class Call(float* x, float* y, float* h, Panels down, Panels up, float scaling, float* gain, float* offset, MaskedRows? mask)
    {
        private readonly float* x = x;
        private readonly float* y = y;
        private readonly float* h = h;
        private readonly float* gain = gain;
        private readonly float* offset = offset;

        private long Inputs => down.Rows;

        private long Outputs => up.Columns;

        private int Rank => (int)down.Columns;

        public void RunTokens(long first, long end)
        {
            int size = TokenBlocks.SizeFor(end - first);
            using Panels sums = new(size, Rank);
            for (long token = first; token < end; token += size)
            {
                int count = (int)Math.Min(size, end - token);
                GoDown(token, count, sums);
                GoUp(token, count);
            }
        }

        [SkipLocalsInit]
        private void GoDown(long token, int count, Panels sums)
        {
            sums.Clear();
            float* dropped = stackalloc float[PanelKernel.Rows * PanelKernel.Chunk];
            for (long first = 0; first < Inputs; first += PanelKernel.Chunk)
            {
                int steps = (int)Math.Min(PanelKernel.Chunk, Inputs - first);
                for (int row = 0; row < count; row += PanelKernel.Rows)
                {
                    int rows = Math.Min(PanelKernel.Rows, count - row);
                    float* factors = x + ((token + row) * Inputs) + first;
                    nint stride = (nint)Inputs;
                    if (mask is not null)
                    {
                        mask.Copy(x, token + row, rows, first, steps, dropped, PanelKernel.Chunk);
                        factors = dropped;
                        stride = PanelKernel.Chunk;
                    }

                    for (int panel = 0; panel < sums.Count; panel++)
                    {
                        PanelKernel.Multiply(factors, stride, 1, rows, steps, down.At(panel, first), new AddingSink(sums.At(panel, row), Panels.Width));
                    }
                }
            }

            sums.CopyTo(h + (token * Rank), count, scaling);
        }

        private void GoUp(long token, int count)
        {
            float* target = y + (token * Outputs);
            for (long first = 0; first < Outputs; first += TokenBlocks.TileWidth)
            {
                long end = Math.Min(Outputs, first + TokenBlocks.TileWidth);
                if (gain is null)
                {
                    TileProducts.Expand(h + (token * Rank), count, up, first, end, new AddingSink(target, (nint)Outputs));
                }
                else
                {
                    TileProducts.Expand(h + (token * Rank), count, up, first, end, new ScalingSink(target, (nint)Outputs, gain, offset));
                }
            }
        }
    }
}
