using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Adapters of layouts that PEFT does not have, given as tensors beside the inputs: all that is asked of adapters from folders.</summary>
internal static class GivenTensorsCheck
{
    private const string Prefix = "adapter.";
    private const string Name = "default";

    public static bool AppliesTo(PeftCase subject) => subject.Io.Names.Any(static name => name.StartsWith(Prefix, StringComparison.Ordinal));

    public static void Run(PeftCase subject)
    {
        using CaseModel model = subject.NewModel();
        Tensor y0 = subject.Run(model);
        subject.Expect.Close("y.base", y0, subject.Io.Read("y.base"));
        AdaptedModel adapted = PeftApi.Inject(model, Options(subject), Name);
        foreach ((string key, Tensor value) in subject.Io.ReadAll(Prefix))
        {
            PeftApi.Set(adapted, Name, key, value);
        }

        model.eval();
        subject.Expect.Close("y", subject.Run(model), subject.Io.Read("y"));
        GradientCheck.Train(subject, model, adapted, "");
        model.eval();
        adapted.MergeAndUnload();
        MergeCheck.CheckMerged(subject, model);
        subject.Expect.Close("y of the merged model", subject.Run(model), subject.Io.Read("y"));
    }

    private static LoraOptions Options(PeftCase subject)
    {
        Dictionary<string, Tensor> tensors = subject.Io.ReadAll(Prefix).ToDictionary();
        int rank = (int)tensors.First(static tensor => tensor.Key.EndsWith("lora_A.weight", StringComparison.Ordinal)).Value.shape[0];
        string[] targets = [.. subject.File.Model.Modules.Select(static module => module.Path).Where(path => tensors.Keys.Any(key => key.StartsWith(path + ".", StringComparison.Ordinal)))];
        return new()
        {
            Rank = rank,
            Alpha = rank * subject.File.Scaling!.Value,
            UseDora = tensors.Keys.Any(static key => key.EndsWith("lora_magnitude_vector", StringComparison.Ordinal)),
            TargetModules = [.. targets],
            GroupedUpdate = GroupedUpdate.Mergeable,
        };
    }
}
