namespace DoraSharp;

/// <summary>What the conversion of an adapter gave at a weight.</summary>
/// <param name="Path">The weight's path.</param>
/// <param name="Rank">The new rank.</param>
/// <param name="RelativeError">‖change − B·A‖/‖W‖ in the Frobenius norm.</param>
/// <param name="RelativeErrorOfChange">‖change − B·A‖/‖change‖; 0 where there is no change.</param>
public sealed record ConvertedLayer(string Path, int Rank, double RelativeError, double RelativeErrorOfChange);
