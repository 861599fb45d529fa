namespace DoraSharp.Samples.Pretrain;

/// <summary>What the command line asks for.</summary>
/// <param name="Output">The folder to write the model to.</param>
/// <param name="Steps">Optimizer steps, at least 1.</param>
/// <param name="Seed">The seed of the weights and of the batches.</param>
/// <param name="Threads">Threads for tensor operations, 1 to 256; part of the recipe, because it changes the order of sums.</param>
/// <exception cref="UserException">A number is out of its range.</exception>
public sealed record PretrainOptions(DirectoryInfo Output, int Steps, int Seed, int Threads)
{
    private const int MostThreads = 256;

    /// <summary>Optimizer steps, at least 1.</summary>
    public int Steps { get; } = Steps >= 1 ? Steps : throw new UserException($"--steps {Steps} must be 1 or more");

    /// <summary>Threads for tensor operations, 1 to 256.</summary>
    public int Threads { get; } = Threads is >= 1 and <= MostThreads
        ? Threads
        : throw new UserException($"--threads {Threads} must be from 1 to {MostThreads}");
}
