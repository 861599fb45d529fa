namespace DoraSharp.Conformance;

/// <summary>One adapter per sample of a batch.</summary>
internal static class MixedBatchCheck
{
    public static bool AppliesTo(PeftCase subject) => subject.File.AdapterNamesPerSample is not null;

    public static void Run(PeftCase subject)
    {
        using CaseModel model = subject.NewModel();
        using AdaptedModel adapted = subject.Load(model);
        model.eval();
        using var before = subject.Run(model);
        using (PeftApi.ForSamples(adapted, subject.File.AdapterNamesPerSample!))
        {
            subject.Expect.Close("y", subject.Run(model), subject.Io.Read("y"));
        }

        subject.Expect.Same("the output after the mixed batch", subject.Run(model), before);
    }
}
