namespace DoraSharp;

/// <summary>A layer in EVA's distribution of ranks.</summary>
/// <param name="Path">Its path in the model.</param>
/// <param name="Rank">Its rank; 0 where it is not to be adapted.</param>
/// <param name="Alpha">Its alpha.</param>
internal sealed record EvaLayer(string Path, int Rank, double Alpha);
