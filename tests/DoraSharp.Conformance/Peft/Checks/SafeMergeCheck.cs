using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>A safe merge refuses values that are not finite, and leaves the base as it was.</summary>
internal static class SafeMergeCheck
{
    public static bool AppliesTo(PeftCase subject) => subject.File.SafeMerge is not null;

    public static void Run(PeftCase subject)
    {
        foreach ((string name, string outcome) in subject.File.SafeMerge!)
        {
            AdapterDescription adapter = subject.File.Adapters.First(candidate => candidate.Name == name);
            using CaseModel model = subject.NewModel();
            using AdaptedModel adapted = PeftApi.Inject(model, subject.Options(adapter), name);
            using (PeftFolder file = PeftFolder.Read(subject.Parent(adapter), name))
            {
                foreach (PeftTensor tensor in file.Tensors)
                {
                    PeftApi.Set(adapted, name, tensor.Name, tensor.Value);
                }
            }

            model.eval();
            bool accepted = Refusal.Of(() => adapted.Merge(safe: true)) is null;
            subject.Expect.Require(accepted == (outcome == "accepted"), $"safe merge of {name}", accepted ? "it is not refused" : "it is refused");
            if (accepted)
            {
                subject.Expect.Close("y", subject.Run(model), subject.Io.Read("y"));
            }

            adapted.Unload();
            foreach ((string parameter, Tensor original) in subject.BaseValues)
            {
                subject.Expect.Same($"{parameter} after the merge of {name}", model.Parameter(parameter), original);
            }
        }
    }
}
