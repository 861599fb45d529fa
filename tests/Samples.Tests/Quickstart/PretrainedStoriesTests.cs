namespace DoraSharp.Samples.Quickstart;

/// <summary>Weights that others trained: stories260K, adapted to Shakespeare.</summary>
public class PretrainedStoriesTests
{
    [Theory]
    [InlineData("full", 3.11)]
    [InlineData("lora", 3.22)]
    [InlineData("dora", 3.20)]
    public void Comparison_Shakespeare_GetsAsFarAsPeftInPython(string method, double peft)
    {
        QuickstartOptions options = new()
        {
            Model = SharedFolder.Require("models", "stories260K", "hf"),
            Data = SharedFolder.Require("data", "text", "tinyshakespeare.txt"),
            Steps = 200,
            Rank = 8,
            LearningRate = 3e-3,
        };
        using TextConsole console = new();
        using Comparison comparison = new(BaseModel.Open(options.Model), AdaptationText.Read(options.Data), options, new TrainingDisplay(console.Console));

        using AdaptationRun run = comparison.Run(FineTuningMethod.Chosen(options with { Methods = [method] }).Single());

        run.Result.Curve.Before.Should().BeApproximately(5.1, 0.2);
        run.Result.Curve.After.Should().BeLessThan(peft + 0.05);
    }
}
