using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>
/// A model through a life of adding, switching, disabling, merging and deleting adapters. A state's name says what is
/// done to reach it, its list which adapters act then.
/// </summary>
internal static class StatesCheck
{
    public static bool AppliesTo(PeftCase subject) => subject.File.States is not null;

    public static void Run(PeftCase subject)
    {
        using CaseModel model = subject.NewModel();
        subject.Expect.Close("y.base", subject.Run(model), subject.Io.Read("y.base"));
        using AdaptedModel adapted = subject.Load(model);
        model.eval();
        foreach ((string key, string[] names) in subject.File.States!)
        {
            string step = key.StartsWith("y.", StringComparison.Ordinal) ? key[2..] : "";
            Tensor expected = subject.Io.Read(key);
            if (names.Length == 0)
            {
                using (adapted.Disable())
                {
                    subject.Expect.Close(key, subject.Run(model), expected);
                }

                continue;
            }

            Reach(subject, adapted, step, names);
            subject.Expect.Require(PeftApi.ActiveNames(adapted).SequenceEqual(names), key, $"the active adapters are {string.Join(", ", PeftApi.ActiveNames(adapted))}, expected {string.Join(", ", names)}");
            subject.Expect.Close(key, subject.Run(model), expected);
        }
    }

    private static void Reach(PeftCase subject, AdaptedModel adapted, string step, string[] names)
    {
        if (step.StartsWith("after_deleting_the_active", StringComparison.Ordinal))
        {
            // Deleting the active adapter makes another one active.
            string last = subject.File.States!.SelectMany(static state => state.Value).Distinct().First(name => !names.Contains(name) && PeftApi.Names(adapted).Contains(name));
            PeftApi.Activate(adapted, last);
            PeftApi.Delete(adapted, last);
            subject.Expect.Require(
                PeftApi.ActiveNames(adapted).SequenceEqual(subject.File.ActiveAfterDeletingTheActiveOne ?? names), step, $"active is {string.Join(", ", PeftApi.ActiveNames(adapted))}");
        }
        else if (step.StartsWith("after_delete_", StringComparison.Ordinal))
        {
            PeftApi.Delete(adapted, step["after_delete_".Length..]);
            PeftApi.Activate(adapted, names);
        }
        else if (step.StartsWith("merged_", StringComparison.Ordinal))
        {
            if (!adapted.IsMerged)
            {
                PeftApi.Activate(adapted, names);
                adapted.Merge();
            }
            else
            {
                // Merging twice changes nothing, whether it is refused or not.
                Refusal.Of(() => adapted.Merge());
            }
        }
        else if (step == "unmerged")
        {
            adapted.Unmerge();
        }
        else if (!step.StartsWith("after_disabled", StringComparison.Ordinal))
        {
            PeftApi.Activate(adapted, names);
        }
    }
}
