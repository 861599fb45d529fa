using DoraSharp.Samples;

namespace DoraSharp.Experiments.Quantization;

/// <summary>What to run.</summary>
/// <param name="Model">A Hugging Face folder.</param>
/// <param name="Data">A text file.</param>
internal sealed record QuantizationExperimentOptions(string Model, string Data)
{
    /// <summary>Where every run's figures go; null writes none.</summary>
    public string? Json { get; init; }

    /// <summary>Optimizer steps of each run.</summary>
    public int Steps { get; init => field = AtLeastOne("--steps", value); } = 150;

    /// <summary>The adapters' rank.</summary>
    public int Rank { get; init => field = AtLeastOne("--rank", value); } = 8;

    /// <summary>The number of runs of each method at each rate.</summary>
    public int Seeds { get; init => field = AtLeastOne("--seeds", value); } = 5;

    /// <summary>The adapters' learning rates.</summary>
    public IReadOnlyList<double> Rates { get; init => field = Positive(value); } = [1e-3, 3e-3, 6e-3];

    private static int AtLeastOne(string option, int value) => value > 0 ? value : throw new UserException($"{option} {value}: it takes at least 1");

    private static IReadOnlyList<double> Positive(IReadOnlyList<double> rates) => rates.Count > 0 && rates.All(rate => rate > 0 && double.IsFinite(rate))
        ? rates
        : throw new UserException("--rates takes one or more positive numbers");
}
