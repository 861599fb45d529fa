using DoraSharp.Transformers;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Samples.Common;

public class TrainingTests
{
    private static readonly TokenStream Counting = new([.. Enumerable.Range(0, 400).Select(i => (long)(i % 13))]);

    [Fact]
    public void Linear_WarmsUpThenFallsToZero()
    {
        Func<int, double> schedule = LearningRateSchedule.Linear(warmup: 4, steps: 12);

        Enumerable.Range(0, 4).Select(schedule).Should().Equal(0.25, 0.5, 0.75, 1);
        schedule(4).Should().Be(1);
        schedule(8).Should().Be(0.5);
        schedule(12).Should().Be(0);
    }

    [Fact]
    public void Cosine_WarmsUpThenFallsToTheFloor()
    {
        Func<int, double> schedule = LearningRateSchedule.Cosine(warmup: 2, steps: 10, floor: 0.1);

        schedule(0).Should().Be(0.5);
        schedule(2).Should().Be(1);
        schedule(6).Should().BeApproximately(0.55, 1e-12);
        schedule(10).Should().BeApproximately(0.1, 1e-12);
    }

    [Fact]
    public void RandomWindows_AnySeed_AreRunsOfTheStream()
    {
        using Tensor windows = Counting.RandomWindows(new Random(3), 7, 11);
        using Tensor again = Counting.RandomWindows(new Random(3), 7, 11);

        windows.shape.Should().Equal(7, 11);
        windows.dtype.Should().Be(ScalarType.Int64);
        windows.Equals(again).Should().BeTrue();
        long[] ids = windows.data<long>().ToArray();
        Enumerable.Range(0, 77).Where(i => i % 11 > 0).Should().OnlyContain(i => ids[i] == (ids[i - 1] + 1) % 13);
        ids.Where((_, i) => i % 11 == 0).Distinct().Should().HaveCountGreaterThan(2);
    }

    [Fact]
    public void SpreadWindows_ShortStream_CoverItOnce()
    {
        using Tensor windows = new TokenStream([.. Enumerable.Range(0, 35).Select(i => (long)i)]).SpreadWindows(10, 10);

        windows.shape.Should().Equal(3, 10);
        long[] starts = windows.select(1, 0).data<long>().ToArray();
        starts.Should().Equal(0, 12, 25);
    }

    [Fact]
    public void Windows_StreamShorterThanOne_SayHowMuchIsMissing()
    {
        Action take = () => new TokenStream([1, 2, 3]).RandomWindows(new Random(1), 1, 4);

        take.Should().Throw<UserException>().WithMessage("the text is too short: 3 tokens, but one window takes 4");
    }

    [Fact]
    public void HeldOutText_StreamShorterThanAWindow_SaysThatItIsTheHeldOutPart()
    {
        Action take = () => new HeldOutText(new TokenStream([1, 2, 3]), 1, 4).Dispose();

        take.Should().Throw<UserException>().WithMessage("the held-out part of the text is too short: 3 tokens, but one window takes 4");
    }

    [Fact]
    public void Train_LearningRateFarTooHigh_StopsAtTheFirstLossThatIsNoNumber()
    {
        using LlamaForCausalLM model = Tiny();
        List<TrainingProgress> reports = [];
        Action train = () => Train(model, [.. model.parameters()], reports.Add, learningRate: 1e30);

        train.Should().Throw<UserException>().WithMessage("the loss became NaN at step *; lower the learning rate")
            .Which.Message.Should().Contain($"step {reports.Count + 1};");
        reports.Should().OnlyContain(report => double.IsFinite(report.Loss));
    }

    [Fact]
    public void Train_ModelWithDamagedWeights_StopsBeforeTheFirstStep()
    {
        using LlamaForCausalLM model = Tiny();
        using (no_grad())
        {
            model.parameters().First().fill_(double.NaN);
        }

        Action train = () => Train(model, [.. model.parameters()], _ => { });

        train.Should().Throw<UserException>().WithMessage("the model's loss is NaN before it is trained*");
    }

    [Fact]
    public void Train_SomeParameters_LearnsTheTextAndLeavesTheRestAlone()
    {
        using LlamaForCausalLM model = Tiny();
        Parameter[] trained = [.. model.named_parameters().Where(entry => entry.name.Contains("mlp", StringComparison.Ordinal)).Select(entry => entry.parameter)];
        Dictionary<string, Tensor> before = model.named_parameters().ToDictionary(entry => entry.name, entry => entry.parameter.detach().clone());
        List<TrainingProgress> reports = [];

        TrainingCurve curve = Train(model, trained, reports.Add);

        curve.After.Should().BeLessThan(curve.Before - 0.3);
        curve.HeldOut.Select(point => point.Step).Should().Equal(0, 8, 16, 24, 32, 40);
        curve.Training.Should().HaveCount(40);
        reports.Select(report => report.Step).Should().Equal(Enumerable.Range(1, 40));
        reports[^1].Remaining.Should().Be(TimeSpan.Zero);
        reports[^1].TokensPerSecond.Should().BePositive();
        model.named_parameters().Should().OnlyContain(entry =>
            entry.parameter.detach().Equals(before[entry.name]) == !entry.name.Contains("mlp", StringComparison.Ordinal));
    }

    [Fact]
    public void Train_SameSeed_GivesTheSameLosses()
    {
        using LlamaForCausalLM first = Tiny(), second = Tiny();

        Train(first, [.. first.parameters()], _ => { }).Training.Should().Equal(Train(second, [.. second.parameters()], _ => { }).Training);
    }

    [Fact]
    public void HeldOutLoss_Model_IsTheMeanNextTokenLossAndKeepsTheMode()
    {
        using LlamaForCausalLM model = Tiny();
        using HeldOutText heldOut = new(Counting, 20, 16);
        model.train();
        double sum = 0;
        using Tensor windows = Counting.SpreadWindows(20, 16);
        for (int row = 0; row < 20; row++)
        {
            using Tensor ids = windows.narrow(0, row, 1);
            using Tensor logProbabilities = model.call(ids).to(ScalarType.Float64).log_softmax(-1);
            sum -= Enumerable.Range(1, 15).Average(t => logProbabilities[0, t - 1, ids[0, t].item<long>()].item<double>());
        }

        heldOut.Loss(model).Should().BeApproximately(sum / 20, 1e-5);
        model.training.Should().BeTrue();
    }

    private static TrainingCurve Train(LlamaForCausalLM model, IReadOnlyList<Parameter> parameters, Action<TrainingProgress> report, double learningRate = 1e-2)
    {
        using HeldOutText heldOut = new(Counting, 8, 16);
        TrainingOptions options = new()
        {
            Steps = 40,
            BatchSize = 4,
            WindowLength = 16,
            LearningRate = learningRate,
            Schedule = LearningRateSchedule.Linear(5, 40),
            Seed = 5,
            GradientNorm = 1,
        };
        return Trainer.Train(model, parameters, Counting, heldOut, options, report);
    }

    private static LlamaForCausalLM Tiny()
    {
        manual_seed(7);
        return new LlamaForCausalLM(new LlamaConfig
        {
            VocabSize = 13,
            HiddenSize = 24,
            IntermediateSize = 40,
            LayerCount = 2,
            HeadCount = 4,
            KeyValueHeadCount = 2,
        });
    }
}
