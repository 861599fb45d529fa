namespace DoraSharp.Conformance;

/// <summary>What the fields of a case say about how it is to be read.</summary>
internal static class PeftCaseFields
{
    private static readonly string[] PlainKinds = ["forward", "edge", "layout", "dropout", "error", "optimizer", "convert"];

    /// <summary>Whether y and what goes with it come from adapters that are loaded from their folders and then simply run.</summary>
    public static bool LoadsPlainly(this PeftCase subject) =>
        PlainKinds.Contains(subject.File.Kind)
        && subject.File is { States: null, ScaleStates: null, AdapterNamesPerSample: null, ExpectedMissing: null, SafeMerge: null }
        && subject.File.Adapters.Count > 0
        && subject.File.Active.All(name => subject.File.Adapters.Any(adapter => adapter.Name == name))
        && !CombinationCheck.AppliesTo(subject)
        && !VeraMagnitudeCheck.AppliesTo(subject);

    extension(PeftCase subject)
    {
        /// <summary>The one adapter that a tensor without an adapter's name belongs to.</summary>
        public string AdapterName => subject.File.Active is [string name] ? name : subject.File.Adapters[0].Name;
    }
}
