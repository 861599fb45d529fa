using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Merging and the ways back: the merged output and weights, the base's bits after unmerging and unloading.</summary>
internal static class MergeCheck
{
    private const string Prefix = "merged.";
    private const string ExactPrefix = "exact.";

    public static bool AppliesTo(PeftCase subject) =>
        subject.LoadsPlainly()
        && subject.Io.Names.Any(static name => name == "y.merged" || name.StartsWith(Prefix, StringComparison.Ordinal));

    public static void Run(PeftCase subject)
    {
        using CaseModel model = subject.NewModel();
        using (AdaptedModel adapted = subject.Load(model))
        {
            MergeAndUnmerge(subject, model, adapted);
        }

        foreach ((string name, Tensor original) in subject.BaseValues)
        {
            subject.Expect.Same($"{name} after unloading", model.Parameter(name), original);
        }

        subject.Load(model).MergeAndUnload();
        CheckMerged(subject, model);
    }

    /// <summary>Compares all parameters of a merged model: those that the case lists are changed, the others are not.</summary>
    public static void CheckMerged(PeftCase subject, CaseModel model)
    {
        Dictionary<string, Tensor> merged = subject.Io.ReadAll(Prefix).ToDictionary();
        foreach ((string name, Tensor expected) in merged)
        {
            subject.Expect.Close(Prefix + name, model.Parameter(name), expected);
        }

        foreach ((string name, Tensor original) in subject.BaseValues.Where(value => merged.Count > 0 && !merged.ContainsKey(value.Key)))
        {
            subject.Expect.Same($"{name}, which no merge changes", model.Parameter(name), original);
        }

        foreach (string name in merged.Keys)
        {
            if (subject.Io.TryRead(ExactPrefix + Prefix + name, out Tensor? exact) || subject.Io.TryRead(ExactPrefix + name, out exact))
            {
                CheckRounding(subject, name, model.Parameter(name), exact);
            }
        }

        if (subject.Io.TryRead("y.merged", out Tensor? y))
        {
            subject.Expect.Close("y.merged", subject.Run(model), y);
            OutputCheck.CheckExact(subject, "exact.y", subject.Run(model), "peft_max_error_y_merged_against_exact");
        }
    }

    /// <summary>A merged weight in low precision is the exact one, rounded once: half a unit in the last place away at most.</summary>
    private static void CheckRounding(PeftCase subject, string name, Tensor actual, Tensor exact)
    {
        Tensor given = actual.detach().to(ScalarType.Float64), b = exact.to(ScalarType.Float64);
        Tensor excess = (given - b).abs() - (b.abs() * (Rounding.HalfUnit(actual.dtype) * 1.001)) - 1e-7;
        subject.Expect.Require(excess.le(0).all().item<bool>(), ExactPrefix + name, $"it is more than half a unit in the last place off, by up to {excess.max().item<double>():0.00e+0}");
        if (subject.File.Figure("mean_error_one_rounding") is { } mean)
        {
            double error = (given - b).abs().mean().item<double>();
            subject.Expect.Require(error <= mean * 1.0001, ExactPrefix + name, $"the mean error is {error:0.000e+0}, that of one rounding {mean:0.000e+0}");
        }
    }

    private static void MergeAndUnmerge(PeftCase subject, CaseModel model, AdaptedModel adapted)
    {
        model.eval();
        Tensor before = subject.Run(model);
        adapted.Merge();
        if (subject.Io.TryRead("y.merged", out Tensor? y))
        {
            subject.Expect.Close("y.merged", subject.Run(model), y);
        }

        adapted.Unmerge();
        subject.Expect.Same("y after unmerging", subject.Run(model), before);
    }
}
