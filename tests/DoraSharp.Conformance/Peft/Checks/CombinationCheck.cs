using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>A weighted combination of adapters: the change of each weight and the output that it gives.</summary>
internal static class CombinationCheck
{
    private const string Prefix = "delta.";

    public static bool AppliesTo(PeftCase subject) => subject.File.Call?.TryGetProperty("combination_type", out _) == true;

    public static void Run(PeftCase subject)
    {
        using CaseModel model = subject.NewModel();
        subject.Expect.Close("y.base", subject.Run(model), subject.Io.Read("y.base"));
        using AdaptedModel adapted = subject.Load(model);
        model.eval();
        string name = subject.File.Active.FirstOrDefault(active => subject.File.Adapters.All(adapter => adapter.Name != active)) ?? "combined";
        PeftApi.Combine(adapted, name, subject.File.Call!.Value, Masks(subject));
        PeftApi.Activate(adapted, name);
        subject.Expect.Close("y", subject.Run(model), subject.Io.Read("y"));

        Dictionary<string, Tensor> originals = subject.BaseValues.ToDictionary();
        adapted.MergeAndUnload();
        foreach ((string path, Tensor expected) in subject.Io.ReadAll(Prefix))
        {
            Tensor original = originals[$"{path}.weight"].to(ScalarType.Float64);
            subject.Expect.Close(Prefix + path, model.Parameter($"{path}.weight").to(ScalarType.Float64) - original, expected);
        }
    }

    private static Tensor[] Masks(PeftCase subject) =>
        [.. Enumerable.Range(0, int.MaxValue).Select(static k => $"mask.{k}").TakeWhile(subject.Io.Has).Select(subject.Io.Read)];
}
