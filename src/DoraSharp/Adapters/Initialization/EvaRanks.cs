using System.Diagnostics;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// EVA's redistribution of ranks (arXiv 2410.07170, section 3.2): the layers' ranks, as many as they have together, go to the
/// components that explain the largest share of their layer's variance. PEFT does this inside <c>initialize_lora_eva_weights</c>.
/// </summary>
public static class EvaRanks
{
    /// <summary>Gives an adapter's options the ranks that the data call for, before it is injected.</summary>
    /// <param name="model">The model, as the injection will get it. It is not changed.</param>
    /// <param name="options">The options, with <see cref="LoraInitialization.Eva"/>.</param>
    /// <param name="data">The data of all layers that the options target: see <see cref="DataCollector.ForEva"/> and <see cref="AdapterInjector.Targets"/>.</param>
    /// <param name="injection">The same as for the injection; <see langword="null"/> for the defaults.</param>
    /// <returns>
    /// The options with a rank pattern and an alpha pattern for each layer whose rank or alpha is not the default, as PEFT saves
    /// them. A layer that gets no rank is left out of the targets.
    /// </returns>
    /// <exception cref="ArgumentException">The options have another initialization, a target matches nothing, or the data are for another one.</exception>
    /// <exception cref="KeyNotFoundException">There are no data of a layer.</exception>
    public static LoraOptions Redistribute(nn.Module model, LoraOptions options, InitializationData data, InjectionOptions? injection = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(data);
        if (options.Initialization != LoraInitialization.Eva || data.Method != LoraInitialization.Eva)
        {
            throw new ArgumentException($"The options start by {options.Initialization}, the data are for {data.Method}; ranks are redistributed for {LoraInitialization.Eva} alone.", nameof(options));
        }

        injection ??= new();
        InjectionPlan plan = InjectionPlan.Make(model, options, injection, injection.AdapterName);
        PlannedSite[] sites = [.. plan.Sites.Where(site => site.Tokens is null)];
        EvaLayer[] before = [.. sites.Where(IsChosenByData).Select(AsLayer)];
        IReadOnlyList<EvaLayer> layers =
        [
            .. EvaInitializer.Redistribute(before, path => data[path], options.Eva ?? new()),
            .. sites.Where(site => !IsChosenByData(site)).Select(AsLayer),
        ];
        LoraOptions redistributed = options with
        {
            RankPattern = [.. layers.Where(layer => layer.Rank > 0 && layer.Rank != options.Rank).Select(layer => KeyValuePair.Create(ConvertedOptions.Exactly(layer.Path), layer.Rank))],
            AlphaPattern = [.. layers.Where(layer => layer.Rank > 0 && layer.Alpha != options.Alpha).Select(layer => KeyValuePair.Create(ConvertedOptions.Exactly(layer.Path), layer.Alpha))],
        };
        string[] empty = [.. layers.Where(layer => layer.Rank == 0).Select(layer => layer.Path)];
        return empty.Length == 0
            ? redistributed
            : redistributed with
            {
                TargetModules = TargetModules.Exactly(sites.Select(site => site.Path).Except(empty, StringComparer.Ordinal)),
                ExcludeModules = null,
                LayersToTransform = [],
                LayersPattern = [],
            };
    }

    // As in PEFT, an embedding starts as by default.
    private static bool IsChosenByData(PlannedSite site) => LayerKinds.Of(site.Layer) != LayerKind.Embedding;

    private static EvaLayer AsLayer(PlannedSite site) => site.Options is LoraOptions options ? new(site.Path, options.Rank, options.Alpha) : throw new UnreachableException();
}
