using System.Diagnostics;
using DoraSharp.Transformers;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Samples.Quickstart;

/// <summary>Loads a saved adapter into a fresh base model, merges it, and compares.</summary>
public static class MergeCheck
{
    private const int Runs = 41;
    private const int Attempts = 3;

    /// <summary>Checks that the adapter in <paramref name="folder"/> gives <paramref name="trainedLogits"/>, adapted and merged, at the base's speed.</summary>
    /// <param name="baseModel">The model that the adapter was trained on.</param>
    /// <param name="method">The method that trained it.</param>
    /// <param name="folder">The saved adapter.</param>
    /// <param name="probe">Token ids [batch, tokens], int64.</param>
    /// <param name="trainedLogits">What the trained model makes of the probe: [batch, tokens, vocabulary].</param>
    public static MergeResult Run(BaseModel baseModel, FineTuningMethod method, string folder, Tensor probe, Tensor trainedLogits)
    {
        using IDisposable noGradient = no_grad();
        using DisposeScope scope = NewDisposeScope();
        using LlamaForCausalLM merged = method.Load(baseModel);
        using LlamaForCausalLM original = baseModel.LoadWeights();
        merged.eval();
        original.eval();

        AdaptedModel adapted = AdaptedModel.Load(merged, folder);
        Tensor adaptedLogits = merged.call(probe);
        adapted.MergeAndUnload();
        Tensor mergedLogits = merged.call(probe);
        return new MergeResult(
            RelativeError(adaptedLogits, trainedLogits),
            RelativeError(mergedLogits, adaptedLogits),
            Skeleton(merged).SequenceEqual(Skeleton(original)),
            TimeRatio(merged, original, probe));
    }

    /// <summary>The ratio of the medians of interleaved runs; measured again, and the lowest taken, where other work disturbed it.</summary>
    private static double TimeRatio(nn.Module<Tensor, Tensor> merged, nn.Module<Tensor, Tensor> original, Tensor probe)
    {
        double lowest = double.PositiveInfinity;
        for (int attempt = 0; attempt < Attempts && lowest > MergeResult.SlowestRatio; attempt++)
        {
            List<TimeSpan> mergedTimes = [], originalTimes = [];
            for (int run = 0; run < Runs; run++)
            {
                mergedTimes.Add(Time(merged, probe));
                originalTimes.Add(Time(original, probe));
            }

            lowest = Math.Min(lowest, Median(mergedTimes) / Median(originalTimes));
        }

        return lowest;
    }

    private static TimeSpan Time(nn.Module<Tensor, Tensor> model, Tensor probe)
    {
        long start = Stopwatch.GetTimestamp();
        using Tensor logits = model.call(probe);
        return Stopwatch.GetElapsedTime(start);
    }

    private static TimeSpan Median(List<TimeSpan> times)
    {
        times.Sort();
        return times[times.Count / 2];
    }

    private static double RelativeError(Tensor actual, Tensor expected)
    {
        using DisposeScope scope = NewDisposeScope();
        return ((actual - expected).abs().max() / expected.abs().max()).item<float>();
    }

    /// <summary>The modules' names and types, and the parameters' names and shapes.</summary>
    private static IEnumerable<string> Skeleton(nn.Module model) =>
        model.named_modules().Select(child => $"{child.name}: {child.module.GetType()}")
            .Concat(model.named_parameters().Select(child => $"{child.name}: {string.Join(" x ", child.parameter.shape)}"));
}
