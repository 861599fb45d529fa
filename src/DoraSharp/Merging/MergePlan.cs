using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Merges several layers at once: first every merged weight is computed and checked, then all are put in place.</summary>
internal static class MergePlan
{
    /// <summary>Merges, or throws and leaves every weight as it was.</summary>
    /// <param name="layers">The layers, with the paths that errors name.</param>
    /// <param name="safe">Refuse results that are not finite.</param>
    /// <param name="requantize">Whether quantized weights are quantized again; they become dense otherwise.</param>
    public static MergeReport Run(IReadOnlyList<KeyValuePair<string, AdapterStack>> layers, bool safe, bool requantize)
    {
        List<Step> plan = [];
        try
        {
            foreach ((string path, AdapterStack stack) in layers)
            {
                stack.RefuseMerge(path);
                plan.Add(Prepare(path, stack, safe, requantize));
            }

            Commit(plan);
            return new([.. plan.Select(static step => step.Layer)]);
        }
        catch
        {
            plan.ForEach(static step => step.Replacement.Dispose());
            throw;
        }
    }

    private static Step Prepare(string path, AdapterStack stack, bool safe, bool requantize)
    {
        FrozenWeight weight = stack.Weight;
        bool isQuantized = !weight.Stored.is_floating_point();
        if (stack.Active.Count == 0)
        {
            return new(stack, new KeptWeight(weight), new(path, isQuantized, 0, 0));
        }

        using var scope = NewDisposeScope();
        WeightError rounding = new();
        Tensor? bias = stack.EffectiveBias();
        Tensor merged = stack.EffectiveWeight(isQuantized && requantize ? Adapter.ParameterType(weight.DType) : weight.DType, rounding);
        if (safe && !(Finite.All(merged) && (bias is null || Finite.All(bias))))
        {
            throw new InvalidOperationException(
                $"Merging {path} would give weights that are not finite (active: {string.Join(", ", stack.Active)}). Nothing was merged. " +
                "Look for NaN or infinite values in the adapter, or for a base weight whose dtype is too narrow.");
        }

        return Replacement() switch
        {
            RequantizedWeight quantized => new(stack, quantized, new(path, true, quantized.Error.Relative, quantized.Error.Max)),
            WeightReplacement dense => new(stack, dense, new(path, false, rounding.Relative, rounding.Max)),
        };

        WeightReplacement Replacement()
        {
            try
            {
                return weight.Replace(merged, bias, requantize);
            }
            catch (ArgumentException e) when (requantize)
            {
                throw new InvalidOperationException($"The merged weight of {path} cannot be quantized (active: {string.Join(", ", stack.Active)}). Nothing was merged. {e.Message}", e);
            }
        }
    }

    private static void Commit(List<Step> plan)
    {
        int done = 0;
        try
        {
            for (; done < plan.Count; done++)
            {
                plan[done].Stack.Put(plan[done].Replacement, plan[done].Layer);
            }
        }
        catch
        {
            // A weight that cannot be written, such as an expanded one: those before it go back.
            plan.Take(done).ToList().ForEach(static step => step.Stack.Unmerge());
            throw;
        }
    }

    private sealed record Step(AdapterStack Stack, WeightReplacement Replacement, MergedLayer Layer);
}
