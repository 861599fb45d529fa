namespace DoraSharp.Samples.Quickstart;

/// <summary>What the command line asks for.</summary>
public sealed record QuickstartOptions
{
    /// <summary>The base model: a Hugging Face folder.</summary>
    public string Model { get; init; } = Path.Combine(AppContext.BaseDirectory, "model");

    /// <summary>The text to adapt to; null takes the documentation of ASP.NET Core.</summary>
    public string? Data { get; init; }

    /// <summary>Where the plot and the adapter go.</summary>
    public string Output { get; init; } = "quickstart-output";

    /// <summary>Where the figures go as JSON; null writes none.</summary>
    public string? Json { get; init; }

    /// <summary>The methods to compare: <c>full</c>, <c>lora</c>, <c>dora</c>, <c>qlora</c>, <c>qdora</c>.</summary>
    public IReadOnlyList<string> Methods { get; init; } = ["full", "lora", "dora"];

    /// <summary>Optimizer steps of each method.</summary>
    public int Steps { get; init; } = 120;

    /// <summary>The rank of the adapters; their alpha is twice that.</summary>
    public int Rank { get; init; } = 8;

    /// <summary>The learning rate of the adapters; full fine-tuning gets a third, since it moves every weight directly.</summary>
    public double LearningRate { get; init; } = 3e-3;

    /// <summary>The seed of the adapters' first values and of the batches.</summary>
    public int Seed { get; init; } = 1;
}
