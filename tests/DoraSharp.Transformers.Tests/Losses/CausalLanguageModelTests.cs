using static TorchSharp.torch;

namespace DoraSharp.Transformers.Tests;

public class CausalLanguageModelTests
{
    [Theory]
    [InlineData(ScalarType.Float32, 1e-6)]
    [InlineData(ScalarType.Float64, 1e-6)]
    [InlineData(ScalarType.BFloat16, 1e-6)]
    public void Loss_SomeLabelsIgnored_IsTheMeanOfTheOthers(ScalarType dtype, double tolerance)
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        Tensor logits = randn(2, 5, 7).to(dtype), labels = tensor(new long[,] { { 1, 2, -100, 6, 0 }, { -100, -100, 3, 3, -100 } });

        // Independent of the implementation: log-softmax in float64, entry by entry.
        Tensor scores = logits.to(ScalarType.Float64);
        double sum = 0;
        (int Row, int Position, int Label)[] predicted = [(0, 0, 2), (0, 2, 6), (0, 3, 0), (1, 1, 3), (1, 2, 3)];
        foreach ((int row, int position, int label) in predicted)
        {
            sum += scores[row, position].logsumexp(0).item<double>() - scores[row, position, label].item<double>();
        }

        Tensor mean = CausalLanguageModel.Loss(logits, labels);

        mean.dtype.Should().Be(ScalarType.Float32);
        mean.item<float>().Should().BeApproximately((float)(sum / 5), (float)tolerance);
        CausalLanguageModel.Loss(logits, labels, nn.Reduction.Sum).item<float>().Should().BeApproximately((float)sum, 5 * (float)tolerance);
        Tensor each = CausalLanguageModel.Loss(logits, labels, nn.Reduction.None);
        each.shape.Should().Equal(2, 4);
        each.sum().item<float>().Should().BeApproximately((float)sum, 5 * (float)tolerance);
        each[0, 1].item<float>().Should().Be(0, "its label is ignored");
    }

    [Theory]
    [InlineData(new long[] { 2, 5, 7 }, new long[] { 2, 4 })]
    [InlineData(new long[] { 2, 5, 7 }, new long[] { 10 })]
    [InlineData(new long[] { 10, 7 }, new long[] { 2, 5 })]
    [InlineData(new long[] { 2, 1, 7 }, new long[] { 2, 1 })]
    public void Loss_ShapesThatDoNotFit_Throws(long[] scores, long[] ids)
    {
        using Tensor logits = zeros(scores), labels = zeros(ids, dtype: ScalarType.Int64);

        logits.Invoking(l => CausalLanguageModel.Loss(l, labels)).Should().Throw<ArgumentException>().WithMessage($"*[{string.Join(", ", scores)}]*");
    }
}
