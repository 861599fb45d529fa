namespace DoraSharp.Samples;

/// <summary>Where a training stands.</summary>
/// <param name="Step">Steps done.</param>
/// <param name="Steps">Steps in all.</param>
/// <param name="Loss">The loss of the last step's batch, in nats per token.</param>
/// <param name="TokensPerSecond">The mean speed so far.</param>
/// <param name="Remaining">The time that the other steps will take at that speed.</param>
public readonly record struct TrainingProgress(int Step, int Steps, double Loss, double TokensPerSecond, TimeSpan Remaining);
