namespace DoraSharp.Conformance;

/// <summary>The layers on which initial values were measured.</summary>
/// <param name="Linear">Inputs and outputs.</param>
/// <param name="Embedding">Rows and dimension.</param>
/// <param name="Conv2d">Input channels, output channels, kernel.</param>
/// <param name="R">The rank.</param>
internal sealed record StatisticsShapes(IReadOnlyList<long> Linear, IReadOnlyList<long> Embedding, IReadOnlyList<long> Conv2d, int R);
