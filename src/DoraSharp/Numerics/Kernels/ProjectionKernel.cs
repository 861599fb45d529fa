using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>W Aᵀ for a large W and an A of few rows, on the CPU in float32.</summary>
internal static unsafe class ProjectionKernel
{
    /// <summary>W Aᵀ [out, r].</summary>
    /// <param name="w">W [out, in].</param>
    /// <param name="a">A [r, in].</param>
    public static Tensor Product(Tensor w, Tensor a)
    {
        long outputs = w.size(0);
        long inputs = w.size(1);
        long rank = a.size(0);
        using Panels factors = Panels.OfTransposed(FloatMemory.Of(a), inputs, rank);
        Tensor result = empty(outputs, rank, dtype: ScalarType.Float32);
        float* weight = FloatMemory.Of(w);
        float* target = FloatMemory.Of(result);
        RowBlocks.Run(outputs, inputs, PanelKernel.Rows, (first, end) =>
        {
            using Panels sums = new(PanelKernel.Rows, rank);
            for (long row = first; row < end; row += PanelKernel.Rows)
            {
                int rows = (int)Math.Min(PanelKernel.Rows, end - row);
                sums.Clear();
                for (int panel = 0; panel < factors.Count; panel++)
                {
                    AddProducts(weight + (row * inputs), rows, factors, panel, sums);
                }

                sums.CopyTo(target + (row * rank), rows, 1);
            }
        });
        return result;
    }

    private static void AddProducts(float* weight, int rows, Panels factors, int panel, Panels sums)
    {
        for (long first = 0; first < factors.Rows; first += PanelKernel.Chunk)
        {
            int steps = (int)Math.Min(PanelKernel.Chunk, factors.Rows - first);
            PanelKernel.Multiply(weight + first, (nint)factors.Rows, 1, rows, steps, factors.At(panel, first), new AddingSink(sums.At(panel, 0), Panels.Width));
        }
    }
}
