namespace DoraSharp.Conformance;

/// <summary>Runs the checks that a case's fields call for, and makes sure that nothing of the case stays unread.</summary>
internal static class PeftChecks
{
    /// <summary>Tensors that are no targets: what PEFT gives where it errs or chose otherwise, and further views of the same.</summary>
    private static readonly string[] Informative =
    [
        "peft_", "plain_grad.", "train_dropout_path.", "delta_lowrank.", "absmax.", "quantized.", "vera_A", "vera_B", "W", "dummy", "calibration",
    ];

    private static readonly (Predicate<PeftCase> AppliesTo, Action<PeftCase> Run)[] Checks =
    [
        (OutputCheck.AppliesTo, OutputCheck.Run),
        (GradientCheck.AppliesTo, GradientCheck.Run),
        (MergeCheck.AppliesTo, MergeCheck.Run),
        (DenseMergeCheck.AppliesTo, DenseMergeCheck.Run),
        (GivenTensorsCheck.AppliesTo, GivenTensorsCheck.Run),
        (VeraMagnitudeCheck.AppliesTo, VeraMagnitudeCheck.Run),
        (DropoutCheck.AppliesTo, DropoutCheck.Run),
        (StatesCheck.AppliesTo, StatesCheck.Run),
        (ScaleCheck.AppliesTo, ScaleCheck.Run),
        (MixedBatchCheck.AppliesTo, MixedBatchCheck.Run),
        (CombinationCheck.AppliesTo, CombinationCheck.Run),
        (RefusedCombinationCheck.AppliesTo, RefusedCombinationCheck.Run),
        (IncompleteFileCheck.AppliesTo, IncompleteFileCheck.Run),
        (InitializationCheck.AppliesTo, InitializationCheck.Run),
        (LoftqCheck.AppliesTo, LoftqCheck.Run),
        (StatisticsCheck.AppliesTo, StatisticsCheck.Run),
        (OriginalBaseCheck.AppliesTo, OriginalBaseCheck.Run),
        (ExtractionCheck.AppliesTo, ExtractionCheck.Run),
        (LoraFaCheck.AppliesTo, LoraFaCheck.Run),
        (LoraPlusCheck.AppliesTo, LoraPlusCheck.Run),
        (SafeMergeCheck.AppliesTo, SafeMergeCheck.Run),
        (FreshCheck.AppliesTo, FreshCheck.Run),
        (FilesCheck.AppliesTo, FilesCheck.Run),
    ];

    /// <summary>Runs a case.</summary>
    public static void Run(PeftCase subject)
    {
        (Predicate<PeftCase> AppliesTo, Action<PeftCase> Run)[] due = [.. Checks.Where(check => check.AppliesTo(subject))];
        if (due.Length == 0)
        {
            throw new NotSupportedException($"{subject.File.Id}: the suite has no check for the kind '{subject.File.Kind}' with these fields.");
        }

        foreach ((_, Action<PeftCase> run) in due)
        {
            run(subject);
        }

        string[] unread = [.. subject.Io.Unused.Where(static name => !Informative.Any(prefix => name.StartsWith(prefix, StringComparison.Ordinal)))];
        subject.Expect.Require(unread.Length == 0, "io.safetensors", $"the suite did not look at {string.Join(", ", unread)}");
    }
}
