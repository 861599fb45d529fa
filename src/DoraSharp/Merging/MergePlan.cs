using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Merges several layers at once: first every merged weight is computed and checked, then all are put in place.</summary>
internal static class MergePlan
{
    /// <summary>Merges, or throws and leaves every weight as it was.</summary>
    /// <param name="layers">The layers, with the paths that errors name.</param>
    /// <param name="safe">Refuse results that are not finite.</param>
    public static void Run(IReadOnlyList<KeyValuePair<string, AdapterStack>> layers, bool safe)
    {
        using var scope = NewDisposeScope();
        List<Step> plan = [];
        try
        {
            foreach ((string path, AdapterStack stack) in layers)
            {
                stack.RefuseMerge(path);
                Tensor? bias = stack.EffectiveBias();
                Tensor merged = stack.Active.Count == 0 ? stack.Weight.Stored : stack.Weight.FromMatrix(stack.EffectiveWeight());
                if (safe && !(Finite.All(merged) && (bias is null || Finite.All(bias))))
                {
                    throw new InvalidOperationException(
                        $"Merging {path} would give weights that are not finite (active: {string.Join(", ", stack.Active)}). Nothing was merged. " +
                        "Look for NaN or infinite values in the adapter, or for a base weight whose dtype is too narrow.");
                }

                plan.Add(new(stack, merged, bias, new OriginalWeight(stack.Weight)));
            }
        }
        catch
        {
            plan.ForEach(step => step.Original.Dispose());
            throw;
        }

        Commit(plan);
    }

    private static void Commit(List<Step> plan)
    {
        int done = 0;
        try
        {
            for (; done < plan.Count; done++)
            {
                plan[done].Stack.ReplaceWeight(plan[done].Merged, plan[done].Bias, plan[done].Original);
            }
        }
        catch
        {
            // A weight that cannot be written, such as an expanded one: those before it go back.
            plan.Take(done).ToList().ForEach(step => step.Stack.Unmerge());
            plan.Skip(done).ToList().ForEach(step => step.Original.Dispose());
            throw;
        }
    }

    private readonly record struct Step(AdapterStack Stack, Tensor Merged, Tensor? Bias, OriginalWeight Original);
}
