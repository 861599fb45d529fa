namespace DoraSharp;

/// <summary>How far a checkpoint is loaded.</summary>
/// <param name="Name">The parameter, buffer or quantized weight that was loaded last.</param>
/// <param name="Done">How many are loaded.</param>
/// <param name="Total">How many there are.</param>
/// <param name="IsQuantized">Whether the last one is quantized.</param>
public readonly record struct CheckpointProgress(string Name, int Done, int Total, bool IsQuantized);
