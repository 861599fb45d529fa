using System.Text.RegularExpressions;

namespace DoraSharp;

/// <summary>The options of an adapter that was converted to LoRA with ranks of its own.</summary>
internal static class ConvertedOptions
{
    /// <summary>LoRA with the ranks given, scaling 1 and plain initial values; the rest stays.</summary>
    /// <param name="source">The options before.</param>
    /// <param name="ranks">The rank of each module, by its path.</param>
    public static LoraOptions Of(AdapterOptions source, IReadOnlyDictionary<string, int> ranks)
    {
        int rank = ranks.Values.DefaultIfEmpty(source.Rank).Max();
        KeyValuePair<string, int>[] others = [.. ranks.Where(entry => entry.Value != rank).Select(entry => KeyValuePair.Create(Exactly(entry.Key), entry.Value))];
        return LoraOptions.From(source) with
        {
            Rank = rank,
            Alpha = rank,
            UseRsLora = false,
            UseDora = false,
            DoublesAttentionOutput = false,
            RankPattern = others,
            AlphaPattern = [.. others.Select(entry => KeyValuePair.Create(entry.Key, (double)entry.Value))],
            Initialization = LoraInitialization.Kaiming,
            Eva = null,
            Corda = null,
            Loftq = null,
            LoraGa = null,
        };
    }

    /// <summary>A rank or alpha pattern that matches one path alone: without the anchor it would match at the end of longer ones.</summary>
    public static string Exactly(string path) => $"^{Regex.Escape(path)}";
}
