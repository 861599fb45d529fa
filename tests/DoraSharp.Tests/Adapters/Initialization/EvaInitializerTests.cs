using DoraSharp.Tests.Golden;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Adapters.Initialization;

public class EvaInitializerTests
{
    [Fact]
    public void RedistributeAndCreate_PeftsCalibration_GivesItsRanksAndTheExactComponents()
    {
        using var scope = NewDisposeScope();
        using PeftCase golden = new("init_eva");
        Dictionary<string, Tensor> scatters = Scatters(golden);
        var layers = EvaInitializer.Redistribute([new("fc1", 3, 6), new("fc2", 3, 6)], path => scatters[path], new EvaOptions { Rho = 2 });

        var result = golden.Description.GetProperty("result");
        foreach (EvaLayer layer in layers)
        {
            layer.Rank.Should().Be(result.GetProperty("rank_pattern").GetProperty(layer.Path).GetInt32());
            layer.Alpha.Should().Be(result.GetProperty("alpha_pattern").GetProperty(layer.Path).GetDouble());

            Tensor exact = golden.Io($"exact.{layer.Path}.components").narrow(0, 0, layer.Rank);
            InitialFactors factors = EvaInitializer.Create(11, scatters[layer.Path], layer.Rank, whiten: false, ScalarType.Float32);
            golden.Compare(factors.A * (factors.A * exact).sum(dim: 1, keepdim: true).sign(), exact, layer.Path);
            factors.B.count_nonzero().item<long>().Should().Be(0);
            factors.B.shape.Should().Equal(11, layer.Rank);

            // PEFT's own, randomised and stopped early, differ from the exact ones by what the case records.
            Tensor pefts = golden.Io($"init.{layer.Path}.lora_A.weight");
            double cosine = (factors.A * pefts).sum(dim: 1).abs().min().item<float>();
            cosine.Should().BeApproximately(golden.Description.GetProperty("figures").GetProperty($"min_abs_cosine_to_exact.{layer.Path}").GetDouble(), 1e-5);

            golden.Compare(tensor(PrincipalComponents.ExplainedVariance(scatters[layer.Path])), golden.Io($"exact.{layer.Path}.explained_variance_ratio"), "explained variance");
        }
    }

    [Fact]
    public void Redistribute_RhoOfOne_KeepsEveryRank()
    {
        using var scope = NewDisposeScope();
        Dictionary<string, Tensor> scatters = new() { ["a"] = Scatter(40, 1, 3), ["b"] = Scatter(30, 2, 0) };
        EvaInitializer.Redistribute([new("a", 5, 10), new("b", 3, 6)], path => scatters[path], new EvaOptions { Rho = 1 })
            .Should().Equal(new EvaLayer("a", 5, 10), new EvaLayer("b", 3, 6));
    }

    [Fact]
    public void Redistribute_SeveralSpectra_GivesEveryRankToTheLargestShares()
    {
        using var scope = NewDisposeScope();
        Dictionary<string, Tensor> scatters = new() { ["flat"] = Scatter(60, 1, 0), ["steep"] = Scatter(20, 2, 1), ["wide"] = Scatter(700, 3, 0) };
        EvaLayer[] before = [new("flat", 4, 8), new("steep", 4, 8), new("wide", 4, 8)];
        var after = EvaInitializer.Redistribute(before, path => scatters[path], new EvaOptions { Rho = 2.25 });

        after.Sum(layer => layer.Rank).Should().Be(12);
        after.Should().OnlyContain(layer => layer.Alpha == layer.Rank * 2.0);
        after[2].Rank.Should().Be(0, "none of 700 alike directions explains much");
        Dictionary<string, double[]> shares = scatters.ToDictionary(entry => entry.Key, entry => Shares(entry.Value));
        double least = after.Where(layer => layer.Rank > 0).Min(layer => shares[layer.Path][layer.Rank - 1]);
        after.Where(layer => layer.Rank < 9).Max(layer => shares[layer.Path][layer.Rank]).Should().BeLessThan(least);
        after.Should().OnlyContain(layer => layer.Rank <= 9, "that is rho times 4");

        EvaInitializer.Redistribute(before, path => scatters[path], new EvaOptions { Rho = 2.25, AdjustScalingFactors = false })
            .Should().OnlyContain(layer => layer.Alpha == 8);
    }

    [Fact]
    public void Create_Whitened_DividesByTheRootOfTheSingularValues()
    {
        using var scope = NewDisposeScope();
        Tensor x = randn(500, 30, dtype: ScalarType.Float64, generator: new Generator(1)) * linspace(1, 3, 30, dtype: ScalarType.Float64);
        using InputScatter scatter = new();
        scatter.Add(x, null);
        InitialFactors plain = EvaInitializer.Create(7, scatter.Result()!, 5, whiten: false, ScalarType.Float64);
        InitialFactors whitened = EvaInitializer.Create(7, scatter.Result()!, 5, whiten: true, ScalarType.Float64);

        Tensor singular = linalg.svdvals(x - x.mean([0])).narrow(0, 0, 5);
        Reference.RelativeError(whitened.A, plain.A / singular.sqrt().unsqueeze(1)).Should().BeLessThan(1e-10);
    }

    [Fact]
    public void Create_InputsThatVaryAlongFewDirections_IsRefused()
    {
        using var scope = NewDisposeScope();
        Tensor x = randn(500, 3, dtype: ScalarType.Float64, generator: new Generator(1)).matmul(randn(3, 30, dtype: ScalarType.Float64, generator: new Generator(2)));
        using InputScatter scatter = new();
        scatter.Add(x, null);

        Action create = () => EvaInitializer.Create(7, scatter.Result()!, 5, whiten: false, ScalarType.Float32);
        create.Should().Throw<ArgumentException>().WithMessage("*5 directions*there are 3*");
        PrincipalComponents.ExplainedVariance(scatter.Result()!).Should().HaveCount(3);
    }

    private static Dictionary<string, Tensor> Scatters(PeftCase golden)
    {
        using InputScatter first = new();
        using InputScatter second = new();
        foreach (Tensor batch in golden.Io("calibration").unbind(0))
        {
            first.Add(batch, null);
            second.Add(nn.functional.linear(batch, golden.Read("base.safetensors", "fc1.weight"), golden.Read("base.safetensors", "fc1.bias")).tanh(), null);
        }

        return new() { ["fc1"] = first.Result()!, ["fc2"] = second.Result()! };
    }

    private static double[] Shares(Tensor scatter)
    {
        Tensor singular = linalg.svdvals(scatter);
        return [.. (singular / singular.sum()).data<double>()];
    }

    private static Tensor Scatter(long inputs, int seed, double decay)
    {
        Tensor x = randn(800, inputs, dtype: ScalarType.Float64, generator: new Generator((ulong)seed)) * arange(1, inputs + 1, dtype: ScalarType.Float64).pow(-decay);
        return x.t().matmul(x);
    }
}
