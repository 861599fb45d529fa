using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Transformers.Tests;

public class TokenSamplerTests
{
    [Theory]
    [InlineData("temperature")]
    [InlineData("top_k_1")]
    [InlineData("top_k_5")]
    [InlineData("top_k_200")]
    [InlineData("top_p_0.05")]
    [InlineData("top_p_0.5")]
    [InlineData("top_p_0.9")]
    [InlineData("temperature_top_k_top_p")]
    public void Probabilities_AnyFilters_AreThoseOfTransformers(string name)
    {
        using var scope = NewDisposeScope();
        var golden = GoldenCase.Of("cases.safetensors", "models", "sampling");
        JsonElement settings = golden.Json.GetProperty("cases").EnumerateArray().Single(settings => settings.GetProperty("name").GetString() == name);
        var options = new GenerationOptions
        {
            Temperature = settings.TryGetProperty("temperature", out JsonElement temperature) ? temperature.GetDouble() : 1,
            TopK = settings.TryGetProperty("top_k", out JsonElement k) ? k.GetInt32() : null,
            TopP = settings.TryGetProperty("top_p", out JsonElement p) ? p.GetDouble() : 1,
        };
        Tensor scores = golden.Tensor("scores"), expected = golden.Tensor($"prob.{name}");

        for (int row = 0; row < 3; row++)
        {
            double[] probabilities = TokenSampler.Probabilities(scores[row].data<float>().ToArray(), options);

            probabilities.Should().Equal(expected[row].data<float>().ToArray(), (actual, wanted) => Math.Abs(actual - wanted) < 1e-6);
            probabilities.Count(probability => probability > 0).Should().Be(settings.GetProperty("kept")[row].GetInt32());
        }
    }

    [Fact]
    public void Next_NoTemperature_TakesTheFirstOfTheLargest()
        => new TokenSampler(new GenerationOptions()).Next([0.5f, 2, -1, 2]).Should().Be(1);

    [Fact]
    public void Next_ManyDraws_FollowTheDistribution()
    {
        var sampler = new TokenSampler(new GenerationOptions { Temperature = 1, Seed = 11 });
        float[] logits = [MathF.Log(0.5f), MathF.Log(0.125f), MathF.Log(0.375f)];
        var counts = new int[3];
        for (int draw = 0; draw < 4000; draw++)
        {
            counts[sampler.Next(logits)]++;
        }

        // Four standard deviations of a binomial count.
        counts.Should().Equal([2000, 500, 1500], (actual, expected) => Math.Abs(actual - expected) < 4 * Math.Sqrt(expected * (1 - (expected / 4000.0))));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void Next_LogitThatIsNotFinite_Throws(double temperature)
    {
        var sampler = new TokenSampler(new GenerationOptions { Temperature = temperature });

        sampler.Invoking(s => s.Next([0, float.NaN])).Should().Throw<InvalidOperationException>().WithMessage("*token 1*NaN*");
        sampler.Invoking(s => s.Next([float.PositiveInfinity, 0])).Should().Throw<InvalidOperationException>();
    }

    [Fact]
    public void Options_ValueOutOfRange_Throws()
    {
        var options = new GenerationOptions();

        options.Invoking(o => o with { MaxNewTokens = -1 }).Should().Throw<ArgumentOutOfRangeException>();
        options.Invoking(o => o with { Temperature = double.NaN }).Should().Throw<ArgumentOutOfRangeException>();
        options.Invoking(o => o with { TopK = 0 }).Should().Throw<ArgumentOutOfRangeException>();
        options.Invoking(o => o with { TopP = 0 }).Should().Throw<ArgumentOutOfRangeException>();
        options.Invoking(o => o with { TopP = 1.01 }).Should().Throw<ArgumentOutOfRangeException>();
    }
}
