namespace DoraSharp;

/// <summary>
/// The levels of the 8-bit dynamic type (arXiv 2110.02861, section 1.3): seven decades, each with twice as many fractions as
/// the one below. bitsandbytes: <c>create_dynamic_map</c>.
/// </summary>
internal static class DynamicMap
{
    private const int Decades = 7;

    /// <summary>The 256 levels, ascending.</summary>
    /// <param name="signed">Whether negative numbers have levels; otherwise each decade has twice as many.</param>
    public static float[] Create(bool signed)
    {
        List<float> levels = [0, 1];
        for (int decade = 0; decade < Decades; decade++)
        {
            int fractions = 1 << (signed ? decade : decade + 1);
            float unit = (float)Math.Pow(10, decade - (Decades - 1));
            for (int i = 0; i < fractions; i++)
            {
                float level = unit * ((Boundary(i, fractions) + Boundary(i + 1, fractions)) / 2);
                levels.Add(level);
                if (signed)
                {
                    levels.Add(-level);
                }
            }
        }

        levels.Sort();
        return [.. levels];
    }

    /// <summary>
    /// One of the equally spaced numbers from 0.1 to 1. libtorch counts from the nearer end, with a fused multiply-add wherever
    /// the processor has one; the last bits of the levels that the world's checkpoints hold depend on that.
    /// </summary>
    private static float Boundary(int index, int intervals)
    {
        const float first = 0.1f, last = 1;
        float step = (last - first) / intervals;
        return index < (intervals + 1) / 2
            ? MathF.FusedMultiplyAdd(step, index, first)
            : MathF.FusedMultiplyAdd(-step, intervals - index, last);
    }
}
