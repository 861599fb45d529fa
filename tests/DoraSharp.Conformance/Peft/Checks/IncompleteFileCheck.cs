namespace DoraSharp.Conformance;

/// <summary>A file with a missing and an unexpected tensor: refused by both names, unless it is accepted as it is.</summary>
internal static class IncompleteFileCheck
{
    public static bool AppliesTo(PeftCase subject) => subject.File.ExpectedMissing is not null || subject.File.ExpectedUnexpected is not null;

    public static void Run(PeftCase subject)
    {
        AdapterDescription adapter = subject.File.Adapters[0];
        string[] missing = [.. (subject.File.ExpectedMissing ?? []).Select(name => Short(name, adapter.Name))];
        string[] unexpected = [.. (subject.File.ExpectedUnexpected ?? []).Select(name => Short(name, adapter.Name))];

        using CaseModel model = subject.NewModel();
        subject.Expect.Close("y.base", subject.Run(model), subject.Io.Read("y.base"));
        Exception? refusal = Refusal.Of(() => subject.LoadOne(model, adapter).Dispose());
        foreach (string name in missing.Concat(unexpected))
        {
            subject.Expect.Require(refusal?.Message.Contains(name, StringComparison.Ordinal) == true, name, $"it is not reported: {refusal?.Message ?? "the file was accepted"}");
        }

        (AdaptedModel adapted, IReadOnlyList<string> absent, IReadOnlyList<string> extra) = PeftApi.LoadIncomplete(model, subject.Parent(adapter), adapter.Name);
        using (adapted)
        {
            model.eval();
            subject.Expect.Require(absent.Order().SequenceEqual(missing.Order()), "expected_missing", $"reported as missing: {string.Join(", ", absent)}");
            subject.Expect.Require(extra.Order().SequenceEqual(unexpected.Order()), "expected_unexpected", $"reported as unexpected: {string.Join(", ", extra)}");
            subject.Expect.Close("y", subject.Run(model), subject.Io.Read("y"));
        }
    }

    /// <summary>A name without PEFT's prefix and without the adapter's name, which PEFT has inside it in memory.</summary>
    private static string Short(string name, string adapter) =>
        name.Replace("base_model.model.", "", StringComparison.Ordinal).Replace($".{adapter}.", ".", StringComparison.Ordinal);
}
