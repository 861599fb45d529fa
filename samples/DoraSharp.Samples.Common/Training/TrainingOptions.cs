namespace DoraSharp.Samples;

/// <summary>How to train.</summary>
public sealed record TrainingOptions
{
    /// <summary>Optimizer steps.</summary>
    public required int Steps { get; init; }

    /// <summary>Windows in a step.</summary>
    public required int BatchSize { get; init; }

    /// <summary>Tokens in a window.</summary>
    public required int WindowLength { get; init; }

    /// <summary>AdamW's learning rate at its highest.</summary>
    public required double LearningRate { get; init; }

    /// <summary>The factor of the learning rate in each step, counted from zero.</summary>
    public required Func<int, double> Schedule { get; init; }

    /// <summary>Where the random windows come from.</summary>
    public required int Seed { get; init; }

    /// <summary>AdamW's decoupled weight decay.</summary>
    public double WeightDecay { get; init; }

    /// <summary>The gradient's norm is cut to this; null leaves it alone.</summary>
    public double? GradientNorm { get; init; }

    /// <summary>How often the held-out loss is measured on the way, the end included.</summary>
    public int Evaluations { get; init; } = 5;
}
