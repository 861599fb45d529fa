using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>The distributions of initial values, on layers large enough to measure them.</summary>
internal static class StatisticsCheck
{
    private const string Name = "default";

    public static bool AppliesTo(PeftCase subject) => subject.File.Kind == "init_stats";

    public static void Run(PeftCase subject)
    {
        StatisticsShapes dims = subject.File.Dims!;
        foreach (IGrouping<string, KeyValuePair<string, Statistics>> group in subject.File.Measured!.GroupBy(static entry => entry.Key[..entry.Key.IndexOf('/')]))
        {
            manual_seed(1);
            LoraOptions options = new()
            {
                Rank = dims.R,
                Initialization = group.Key switch
                {
                    "True" => LoraInitialization.Kaiming,
                    "False" => LoraInitialization.Random,
                    "gaussian" => LoraInitialization.Gaussian,
                    _ => throw new NotSupportedException($"The suite has no initialisation '{group.Key}'."),
                },
                TargetModules = ["lin", "emb", "conv"],
            };
            using CaseModel model = new(Layers(dims));
            using AdaptedModel adapted = PeftApi.Inject(model, options, Name);
            IReadOnlyDictionary<string, Tensor> parameters = PeftApi.Parameters(adapted, Name);
            foreach ((string key, Statistics expected) in group)
            {
                string parameter = key[(group.Key.Length + 1)..];
                subject.Expect.Require(parameters.ContainsKey(parameter), key, "the library has none");
                Compare(subject, key, parameters[parameter].detach().to(ScalarType.Float64), expected);
            }
        }
    }

    /// <summary>Two samples of one distribution: means within five standard errors, deviations and extremes near each other.</summary>
    private static void Compare(PeftCase subject, string key, Tensor values, Statistics expected)
    {
        double mean = values.mean().item<double>(), deviation = values.std().item<double>();
        double extreme = values.abs().max().item<double>(), reference = Math.Max(Math.Abs(expected.Min), Math.Abs(expected.Max));
        double error = 5 * expected.Std * Math.Sqrt(2.0 / expected.N);
        subject.Expect.Require(values.numel() == expected.N, key, $"it has {values.numel()} elements, expected {expected.N}");
        subject.Expect.Require(Math.Abs(mean - expected.Mean) <= error, key, $"its mean is {mean:0.0000}, expected {expected.Mean:0.0000} within {error:0.0000}");
        subject.Expect.Require(Math.Abs(deviation - expected.Std) <= error, key, $"its deviation is {deviation:0.0000}, expected {expected.Std:0.0000} within {error:0.0000}");
        subject.Expect.Require(extreme <= 1.5 * reference && extreme >= reference / 1.5, key, $"its largest element is {extreme:0.0000}, expected about {reference:0.0000}");
    }

    private static ModelDescription Layers(StatisticsShapes dims) => new()
    {
        Modules =
        [
            new("lin", "Linear", Arguments(new { in_features = dims.Linear[0], out_features = dims.Linear[1] })),
            new("emb", "Embedding", Arguments(new { num_embeddings = dims.Embedding[0], embedding_dim = dims.Embedding[1] })),
            new("conv", "Conv2d", Arguments(new { in_channels = dims.Conv2d[0], out_channels = dims.Conv2d[1], kernel_size = dims.Conv2d.Skip(2) })),
        ],
    };

    private static Dictionary<string, JsonElement> Arguments<T>(T arguments) =>
        JsonSerializer.SerializeToElement(arguments).EnumerateObject().ToDictionary(static property => property.Name, static property => property.Value);
}
