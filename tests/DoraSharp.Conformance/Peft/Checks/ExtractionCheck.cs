using System.Globalization;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Adapters made from a change of a weight: the best product of each rank, its error and its output.</summary>
internal static class ExtractionCheck
{
    private const string Delta = "delta.";
    private const string Product = ".product";
    private const string Rank = "rank";
    private const string Energy = "energy";

    public static bool AppliesTo(PeftCase subject) => subject.File.Kind == "convert" && subject.Io.Names.Any(static name => name.EndsWith(Product, StringComparison.Ordinal));

    public static void Run(PeftCase subject)
    {
        (string path, Tensor delta) = Change(subject);
        if (subject.Io.TryRead("singular_values", out Tensor? values))
        {
            subject.Expect.Close("singular_values", linalg.svdvals(delta), values);
        }

        foreach (string key in subject.Io.Names.Where(static name => name.EndsWith(Product, StringComparison.Ordinal)))
        {
            string what = key[..^Product.Length];
            (Tensor a, Tensor b) = what.StartsWith(Energy, StringComparison.Ordinal)
                ? PeftApi.Extract(delta, null, Number(what, Energy) / Math.Pow(10, what.Length - Energy.Length - 1))
                : PeftApi.Extract(delta, Number(what, Rank), null);
            Tensor product = b.matmul(a);
            subject.Expect.Close(key, product, subject.Io.Read(key));
            CheckError(subject, what, delta - product);
            if (subject.File.Figure($"{what}_rank") is { } rank)
            {
                subject.Expect.Require(a.shape[0] == rank, $"{what}_rank", $"the rank is {a.shape[0]}, expected {rank}");
            }

            if (subject.Io.TryRead($"{what}.y", out Tensor? y))
            {
                using CaseModel model = subject.NewModel();
                using (no_grad())
                {
                    model.Parameter($"{path}.weight").add_(product.to(ScalarType.Float32));
                }

                subject.Expect.Close($"{what}.y", subject.Run(model), y);
            }
        }

        foreach ((string energy, int rank) in subject.File.RankForEnergy ?? new Dictionary<string, int>())
        {
            (Tensor a, _) = PeftApi.Extract(delta, null, double.Parse(energy, CultureInfo.InvariantCulture));
            subject.Expect.Require(a.shape[0] == rank, $"rank_for_energy {energy}", $"the rank is {a.shape[0]}, expected {rank}");
        }

        _ = subject.Inputs();
    }

    /// <summary>The change that is given, or that of the case's adapter.</summary>
    private static (string Path, Tensor Delta) Change(PeftCase subject)
    {
        foreach ((string path, Tensor given) in subject.Io.ReadAll(Delta))
        {
            return (path, given.to(ScalarType.Float64));
        }

        using CaseModel model = subject.NewModel();
        using AdaptedModel adapted = subject.Load(model);
        string adaptedPath = adapted.Layers[0].Key;
        Tensor original = subject.BaseValues.First(value => value.Key == $"{adaptedPath}.weight").Value.to(ScalarType.Float64);
        InitialFactors factors = InitialFactors.Of(adapted, subject.AdapterName, subject.File.Model.Modules.First(module => module.Path == adaptedPath))!;
        subject.Expect.Require(Comparison.IsSame(factors.Frozen, original), adaptedPath, "loading changed the base");
        return (adaptedPath, factors.Product);
    }

    private static void CheckError(PeftCase subject, string what, Tensor difference)
    {
        if (subject.File.Errors?.GetValueOrDefault(what[Rank.Length..]) is { } expected)
        {
            double error = difference.norm().item<double>();
            subject.Expect.Require(Math.Abs(error - expected.FrobeniusError) <= 1e-5, $"errors {what}", $"the error is {error:0.00000}, expected {expected.FrobeniusError:0.00000}");
        }
    }

    private static int Number(string text, string word) => int.Parse(text[word.Length..], CultureInfo.InvariantCulture);
}
