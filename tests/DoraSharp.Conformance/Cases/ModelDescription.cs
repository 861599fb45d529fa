namespace DoraSharp.Conformance;

/// <summary>A model: its modules, and the steps of its forward.</summary>
internal sealed record ModelDescription
{
    public IReadOnlyList<ModuleDescription> Modules { get; init; } = [];

    public IReadOnlyList<string> Inputs { get; init; } = [];

    public IReadOnlyList<ForwardStep> Forward { get; init; } = [];

    public string Output { get; init; } = "";

    public string Dtype { get; init; } = "float32";

    /// <summary>Whether the head has the embedding's weight.</summary>
    public bool Tied { get; init; }
}
