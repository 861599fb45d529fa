namespace DoraSharp.Samples.Pretrain;

/// <summary>What the command line asks for.</summary>
/// <param name="Output">The folder to write the model to.</param>
/// <param name="Steps">Optimizer steps.</param>
/// <param name="Seed">The seed of the weights and of the batches.</param>
/// <param name="Threads">Threads for tensor operations; part of the recipe, because it changes the order of sums.</param>
public sealed record PretrainOptions(DirectoryInfo Output, int Steps, int Seed, int Threads);
