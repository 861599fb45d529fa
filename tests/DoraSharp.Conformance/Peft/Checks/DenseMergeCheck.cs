using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>An update that is no weight of its layer (a grouped convolution in PEFT's shapes): the equivalent dense weight, and a merge that is refused.</summary>
internal static class DenseMergeCheck
{
    private const string Prefix = "merged_dense.";

    public static bool AppliesTo(PeftCase subject) => subject.LoadsPlainly() && subject.Io.Names.Any(static name => name.StartsWith(Prefix, StringComparison.Ordinal));

    public static void Run(PeftCase subject)
    {
        using CaseModel model = subject.NewModel();
        using AdaptedModel adapted = subject.Load(model);
        foreach ((string key, Tensor expected) in subject.Io.ReadAll(Prefix))
        {
            string path = key[..key.LastIndexOf('.')];
            subject.Expect.Close(Prefix + key, PeftApi.EffectiveWeight(adapted, path).reshape(expected.shape), expected);
        }

        Action merge = () => adapted.Merge();
        subject.Expect.Require(Refusal.Of(merge) is not null, "merge", "the update cannot be merged, but the merge is not refused");
        adapted.Unload();
        foreach ((string name, Tensor original) in subject.BaseValues)
        {
            subject.Expect.Same($"{name} after a refused merge", model.Parameter(name), original);
        }
    }
}
