namespace DoraSharp;

/// <summary>What became of the tensors of an adapter's file.</summary>
/// <param name="Loaded">The names of those that were loaded: a module's path and the part that follows it.</param>
/// <param name="Missing">Those that the model has and the file has not; they keep their initial values.</param>
/// <param name="Unexpected">Those that the file has and the model has no place for.</param>
/// <param name="Warnings">What was odd but accepted, a sentence each.</param>
public sealed record LoadedTensors(IReadOnlyList<string> Loaded, IReadOnlyList<string> Missing, IReadOnlyList<string> Unexpected, IReadOnlyList<string> Warnings)
{
    /// <summary>The base weights that the file held besides, as PEFT's files of adapted embeddings do; they are saved again.</summary>
    internal IReadOnlyList<string> BaseWeights { get; init; } = [];
}
