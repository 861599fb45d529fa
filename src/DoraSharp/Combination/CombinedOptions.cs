namespace DoraSharp;

/// <summary>The options of a combined adapter.</summary>
internal static class CombinedOptions
{
    /// <summary>
    /// The options of an adapter that combines others: those of the first, with the rank given, scaling 1 and plain initial
    /// values, so that no base weight is touched.
    /// </summary>
    /// <param name="sources">The options of the adapters, in order.</param>
    /// <param name="paths">The paths of all weights that one of them adapts.</param>
    /// <param name="rank">The rank of the new adapter.</param>
    /// <exception cref="NotSupportedException">An adapter holds more than A, B and magnitudes, or they differ in a way that no adapter can have.</exception>
    public static LoraOptions Of(IReadOnlyList<LoraOptions> sources, IReadOnlyList<string> paths, int rank)
    {
        LoraOptions first = sources[0];
        foreach (LoraOptions source in sources)
        {
            RefuseWhatWouldBeLost(source);
            if (source.GroupedUpdate != first.GroupedUpdate)
            {
                throw new NotSupportedException($"Adapters that differ in {nameof(LoraOptions.GroupedUpdate)} cannot be combined: their updates mean different things.");
            }
        }

        LoraOptions combined = first with
        {
            Rank = rank,
            Alpha = rank,
            UseRsLora = false,
            UseDora = sources.Any(source => source.UseDora),
            LoraBias = sources.Any(source => source.LoraBias),
            DoublesAttentionOutput = false,
            FanInFanOut = sources.Any(source => source.FanInFanOut),
            Initialization = LoraInitialization.Kaiming,
            Eva = null,
            Corda = null,
            Loftq = null,
            LoraGa = null,
            RankPattern = [],
            AlphaPattern = [],
        };
        return sources.All(source => HasSameTargets(source, first))
            ? combined
            : combined with { TargetModules = TargetModules.Exactly(paths), ExcludeModules = null, LayersToTransform = [], LayersPattern = [] };
    }

    private static bool HasSameTargets(LoraOptions a, LoraOptions b) =>
        a.TargetModules.Equals(b.TargetModules)
        && Equals(a.ExcludeModules, b.ExcludeModules)
        && a.LayersToTransform.SequenceEqual(b.LayersToTransform)
        && a.LayersPattern.SequenceEqual(b.LayersPattern);

    private static void RefuseWhatWouldBeLost(LoraOptions source)
    {
        string? part = source switch
        {
            { ModulesToSave.Count: > 0 } => nameof(LoraOptions.ModulesToSave),
            { TrainableTokens.Count: > 0 } => nameof(LoraOptions.TrainableTokens),
            { TargetParameters.Count: > 0 } => nameof(LoraOptions.TargetParameters),
            { Bias: not BiasTraining.None } => nameof(LoraOptions.Bias),
            _ => null,
        };
        if (part is not null)
        {
            throw new NotSupportedException($"An adapter with {part} cannot be combined: a combination covers A, B and magnitudes, and the rest would be lost.");
        }
    }
}
