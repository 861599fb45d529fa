namespace DoraSharp;

/// <summary>Names that the heads of models commonly have.</summary>
internal static class TaskHeads
{
    /// <summary>The task of classifying a sequence. PEFT: <c>SEQ_CLS</c>.</summary>
    public const string SequenceClassification = "SEQ_CLS";

    /// <summary>Output embeddings of language models.</summary>
    public static IReadOnlyList<string> OutputEmbeddings { get; } = ["lm_head", "embed_out"];

    /// <summary>Heads of classifiers at the top of a model, the likelier first.</summary>
    public static IReadOnlyList<string> Classifiers { get; } = ["score", "classifier"];

    /// <summary>The modules that a task trains and saves whole without being asked.</summary>
    public static IReadOnlyList<string> SavedBy(string? taskType) => taskType switch
    {
        SequenceClassification or "TOKEN_CLS" => ["classifier", "score"],
        "QUESTION_ANS" => ["qa_outputs"],
        _ => [],
    };
}
