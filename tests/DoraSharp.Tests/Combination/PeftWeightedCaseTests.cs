using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Combination;

/// <summary>What PEFT's <c>add_weighted_adapter</c> gave, and by definition where PEFT is wrong (DoRA, rank-stabilised sources).</summary>
public class PeftWeightedCaseTests
{
    [Fact]
    public void Combine_EveryCase_ChangesTheWeightAsPeftDid()
    {
        string[] folders = Cases(isError: false);
        List<string> failures = [];
        foreach (string folder in folders)
        {
            using var scope = NewDisposeScope();
            using WeightedCase golden = new(folder);
            AdapterCombination combination = golden.Combination;
            IReadOnlyList<CombinationSource> sources = golden.Sources(combination.Adapters, combination.Weights);
            int drawn = 0;
            Func<long[], Tensor> masks = golden.Masks();
            using CombinedUpdate combined = WeightCombination.Combine(
                combination,
                sources,
                golden.Weight,
                sources.Any(source => source.Magnitude is not null),
                combination.RankOf([.. sources.Select(source => source.Rank)]),
                shape =>
                {
                    drawn++;
                    return masks(shape);
                });

            drawn.Should().Be(golden.MaskCount, golden.Name);
            Tensor w = golden.Weight.Rows(0, golden.Weight.Outputs, ScalarType.Float64);
            Tensor change = Reference.EffectiveWeight(w, new ReferenceAdapter(combined.A, combined.B, combined.Magnitude, 1)) - w;
            Compare("change", change, golden.ExpectedChange);
            if (golden.ExpectedFactors is var (a, b) && !combination.EffectiveType.UsesSvd() && !golden.Name.Contains("rslora", StringComparison.Ordinal))
            {
                Compare("A", combined.A, a);
                Compare("B", combined.B, b);
            }

            void Compare(string what, Tensor actual, Tensor expected)
            {
                double excess = Excess(actual, expected, golden.Tolerance);
                if (!(excess <= 0))
                {
                    failures.Add($"{golden.Name}: {what} by {excess:0.0e+0}");
                }
            }
        }

        string.Join("; ", failures).Should().BeEmpty();
        folders.Length.Should().BeGreaterThan(20);
    }

    [Fact]
    public void Combine_RanksThatDiffer_FailsForTheTypesThatPeftRefuses()
    {
        foreach (string folder in Cases(isError: true))
        {
            using var scope = NewDisposeScope();
            using WeightedCase golden = new(folder);
            IReadOnlyList<CombinationSource> sources = golden.Sources(["a", "b"], [0.7, 0.4]);
            foreach (string type in golden.ExpectedErrors)
            {
                Action combine = () =>
                {
                    CombinationType parsed = WeightedCase.Parse<CombinationType>(type);
                    AdapterCombination combination = new() { Adapters = ["a", "b"], Weights = [0.7, 0.4], Type = parsed, Density = parsed.Prunes() ? 0.5 : null };
                    WeightCombination.Combine(combination, sources, golden.Weight, withMagnitude: false, 5, golden.Masks());
                };
                combine.Should().Throw<ArgumentException>(type).Which.Message.Should().ContainAny("equal ranks", "not found");
            }
        }
    }

    private static string[] Cases(bool isError) =>
    [
        .. Directory.GetDirectories(SharedFolder.Require("fixtures", "peft"), "weighted_*")
            .Order(StringComparer.Ordinal)
            .Where(folder => File.ReadAllText(Path.Combine(folder, "case.json")).Contains("\"expected_errors\"", StringComparison.Ordinal) == isError),
    ];

    /// <summary>The fixture's rule: |a − b| ≤ max(atol + rtol·|b|, rtol·max|b|); by how much the worst element misses it.</summary>
    private static double Excess(Tensor actual, Tensor expected, JsonElement tolerance)
    {
        actual.shape.Should().Equal(expected.shape);
        double relative = tolerance.GetProperty("rtol").GetDouble();
        Tensor e = expected.to(ScalarType.Float64);
        Tensor allowed = maximum(tolerance.GetProperty("atol").GetDouble() + (relative * e.abs()), relative * e.abs().max());
        return ((actual.to(ScalarType.Float64) - e).abs() - allowed).max().item<double>();
    }
}
