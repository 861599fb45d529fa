using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Adapters.Initialization;

public class DataCollectorTests
{
    [Fact]
    public void ForEva_SeveralUnevenBatches_GivesTheScatterOfAllInputs()
    {
        using var scope = NewDisposeScope();
        using TwoLayers model = new();
        Tensor[] batches = [Batch(3, 17, 1) + 50, Batch(1, 5, 2) + 50, Batch(2, 31, 3) + 50];
        using InitializationData data = DataCollector.ForEva(model, ["first", "second"], batches, x => model.call(x));

        data.Method.Should().Be(LoraInitialization.Eva);
        data.Paths.Should().Equal("first", "second");
        Reference.RelativeError(data["first"], Scatter([.. batches.Select(x => x.reshape(-1, 13))])).Should().BeLessThan(1e-11);
        Reference.RelativeError(data["second"], Scatter([.. batches.Select(x => model.First(x).reshape(-1, 19))])).Should().BeLessThan(1e-5);
    }

    [Fact]
    public void ForEva_WithAMask_LeavesTheOtherPositionsOut()
    {
        using var scope = NewDisposeScope();
        using TwoLayers model = new();
        (Tensor X, Tensor Kept)[] batches = [(Batch(3, 17, 1), Mask(3, 17, 4)), (Batch(2, 31, 3), Mask(2, 31, 5)), (Batch(1, 4, 6), zeros(1, 4, ScalarType.Bool))];
        using InitializationData data = DataCollector.ForEva(model, ["first"], batches, batch => model.call(batch.X), batch => batch.Kept.clone());

        Reference.RelativeError(data["first"], Scatter([.. batches.Select(batch => batch.X[batch.Kept])])).Should().BeLessThan(1e-11);
    }

    [Fact]
    public void ForCorda_ABatchOrItsSamples_GivesTheSameCovariance()
    {
        using var scope = NewDisposeScope();
        using TwoLayers model = new();
        Tensor x = Batch(6, 12, 1);
        using InitializationData together = DataCollector.ForCorda(model, ["first"], [x], batch => model.call(batch));
        using InitializationData apart = DataCollector.ForCorda(model, ["first"], x.unbind(0), sample => model.call(sample));

        Tensor expected = zeros(13, 13, dtype: ScalarType.Float64);
        foreach (Tensor sample in x.to(ScalarType.Float64).unbind(0))
        {
            Tensor scaled = sample / sample.max().abs();
            expected += scaled.t().matmul(scaled) / 6;
        }

        Reference.RelativeError(together["first"], expected).Should().BeLessThan(1e-12);
        Reference.RelativeError(apart["first"], expected).Should().BeLessThan(1e-12);
    }

    [Fact]
    public void ForCorda_SamplesWhoseLargestInputIsZero_StayFinite()
    {
        using var scope = NewDisposeScope();
        using TwoLayers model = new();
        Tensor negative = -Batch(12, 1).abs();
        negative[0, 0] = 0;
        using InitializationData data = DataCollector.ForCorda(model, ["first"], [negative, zeros(12, 13)], sample => model.call(sample));

        Tensor scaled = (negative / negative.abs().max()).to(ScalarType.Float64);
        Reference.RelativeError(data["first"], scaled.t().matmul(scaled) / 2).Should().BeLessThan(1e-6);
    }

    [Fact]
    public void ForLoraGa_SeveralBatches_GivesTheMeanOfTheGradients()
    {
        using var scope = NewDisposeScope();
        using TwoLayers model = new();
        Tensor[] batches = [Batch(3, 17, 1), Batch(2, 31, 3)];
        using InitializationData data = DataCollector.ForLoraGa(model, ["second"], batches, x => model.call(x).square().mean());

        model.eval();
        Tensor expected = zeros(7, 19, dtype: ScalarType.Float64);
        foreach (Tensor x in batches)
        {
            Tensor h = model.First(x).reshape(-1, 19).to(ScalarType.Float64);
            Tensor y = model.call(x).reshape(-1, 7).to(ScalarType.Float64);
            expected += (2.0 / y.numel()) * y.t().matmul(h) / 2;
        }

        Reference.RelativeError(data["second"], expected.detach()).Should().BeLessThan(1e-5);
        data["second"].requires_grad.Should().BeFalse();
    }

    [Fact]
    public void Collect_Ended_LeavesTheModelAsItWas()
    {
        using var scope = NewDisposeScope();
        using TwoLayers model = new();
        model.eval();
        model.Dropout.train();
        model.call(Batch(2, 3, 1)).sum().backward();
        model.first.weight!.requires_grad = false;
        Tensor gradient = model.second.weight!.grad!.clone();
        Tensor[] batches = [Batch(3, 17, 1)];
        DataCollector.ForEva(model, ["first"], batches, x => model.call(x)).Dispose();
        DataCollector.ForLoraGa(model, ["first", "second"], batches, x => model.call(x).square().mean()).Dispose();

        ((Action)(() => DataCollector.ForCorda(model, ["first"], batches, _ => throw new IOException("no data")))).Should().Throw<IOException>();
        ((Action)(() => DataCollector.ForLoraGa(model, ["second"], batches, _ => throw new IOException("no data")))).Should().Throw<IOException>();

        model.training.Should().BeFalse();
        model.Dropout.training.Should().BeTrue();
        model.first.weight!.requires_grad.Should().BeFalse();
        model.second.weight!.requires_grad.Should().BeTrue();
        Reference.SameBits(model.second.weight!.grad!, gradient).Should().BeTrue();
        long before = LiveTensors.Count;
        model.call(batches[0]).Dispose();
        LiveTensors.Count.Should().Be(before, "no hook is left that would keep anything");
    }

    [Fact]
    public void Collect_ManyBatches_KeepsNoTensorOfThem()
    {
        using Tensor x = Batch(3, 17, 1);
        using TwoLayers model = new();
        long Leak(int batches)
        {
            long before = LiveTensors.Count;
            DataCollector.ForEva(model, ["first", "second"], Enumerable.Repeat(x, batches), b => model.call(b), b => ones(3, 17, dtype: ScalarType.Bool)).Dispose();
            DataCollector.ForCorda(model, ["first", "second"], Enumerable.Repeat(x, batches), b => model.call(b)).Dispose();
            DataCollector.ForLoraGa(model, ["first", "second"], Enumerable.Repeat(x, batches), b => model.call(b).square().mean()).Dispose();
            return LiveTensors.Count - before;
        }

        Leak(2);
        Leak(2).Should().Be(0);
        Leak(9).Should().Be(0);
    }

    [Fact]
    public void Collect_LayerThatIsNotCalled_IsNamed()
    {
        using var scope = NewDisposeScope();
        using TwoLayers model = new() { ByForward = true };
        Tensor[] batches = [Batch(3, 17, 1)];
        Action eva = () => DataCollector.ForEva(model, ["first", "second"], batches, x => model.call(x));
        eva.Should().Throw<InvalidOperationException>().WithMessage("*first, second*forward*call*");

        // Gradients reach weights whichever way a layer is invoked.
        DataCollector.ForLoraGa(model, ["first", "second"], batches, x => model.call(x).square().mean()).Dispose();
        Action loraGa = () => DataCollector.ForLoraGa(model, ["first", "second"], batches, x => model.First(x).square().mean());
        loraGa.Should().Throw<InvalidOperationException>().WithMessage("*second*no gradient*");
    }

    [Fact]
    public void Collect_BadArguments_AreRefusedWithTheReason()
    {
        using var scope = NewDisposeScope();
        using TwoLayers model = new();
        Tensor x = Batch(3, 17, 1);
        Refusing(() => DataCollector.ForEva(model, ["third"], [x], b => model.call(b)), "*'third'*named_modules*");
        Refusing(() => DataCollector.ForEva(model, [], [x], b => model.call(b)), "*no paths*");
        Refusing(() => DataCollector.ForEva(model, ["first"], Array.Empty<Tensor>(), b => model.call(b)), "*no batches*");
        Refusing(() => DataCollector.ForEva(model, ["first"], [full(2, 13, double.NaN)], b => model.call(b)), "*'first'*NaN*");
        Refusing(() => DataCollector.ForLoraGa(model, ["Dropout"], [x], b => model.call(b).sum()), "*'Dropout'*weight*");
        Refusing(() => DataCollector.ForLoraGa(model, ["first"], [x], b => model.call(b)), "*one element*[3, 17, 7]*");
        Refusing(() => DataCollector.ForLoraGa(model, ["first"], [x], b => model.call(b).sum().detach()), "*without*");
        Action mask = () => DataCollector.ForEva(model, ["first"], [x], b => model.call(b), b => ones(3, 16, dtype: ScalarType.Bool));
        mask.Should().Throw<InvalidOperationException>().WithMessage("*[3, 16]*[3, 17, 13]*first*");
        mask = () => DataCollector.ForCorda(model, ["first"], [x], b => model.call(b), b => zeros(3, 17, dtype: ScalarType.Bool));
        mask.Should().Throw<InvalidOperationException>().WithMessage("*'first'*no input*");
    }

    [Fact]
    public void InitializationData_WrongMatrices_AreRefusedAndNotTakenOver()
    {
        using var scope = NewDisposeScope();
        Tensor good = eye(4);
        Refusing(() => new InitializationData(LoraInitialization.Eva, new Dictionary<string, Tensor> { ["a"] = good, ["b.c"] = ones(4, 3) }), "*'b.c'*[4, 3]*square*");
        Refusing(() => new InitializationData(LoraInitialization.LoraGa, new Dictionary<string, Tensor> { ["b"] = ones(4, 3, dtype: ScalarType.Int64) }), "*'b'*Int64*");
        Refusing(() => new InitializationData(LoraInitialization.Pissa, new Dictionary<string, Tensor> { ["a"] = good }), "*pissa needs no data*");
        good.IsInvalid.Should().BeFalse();

        InitializationData data = new(LoraInitialization.Corda, new Dictionary<string, Tensor> { ["a"] = good });
        ((Func<Tensor>)(() => data["x"])).Should().Throw<KeyNotFoundException>().WithMessage("*'x'*corda*a*");
        data.Dispose();
        good.IsInvalid.Should().BeTrue();
    }

    private static void Refusing(Func<InitializationData> collect, string message) => collect.Should().Throw<ArgumentException>().WithMessage(message);

    private static Tensor Batch(long batch, long tokens, int seed) => randn(batch, tokens, 13, generator: new Generator((ulong)seed));

    private static Tensor Batch(long tokens, int seed) => randn(tokens, 13, generator: new Generator((ulong)seed));

    private static Tensor Mask(long batch, long tokens, int seed) => rand(batch, tokens, generator: new Generator((ulong)seed)).gt(0.4);

    private static Tensor Scatter(Tensor[] rows)
    {
        Tensor x = cat(rows, dim: 0).detach().to(ScalarType.Float64);
        Tensor centred = x - x.mean([0]);
        return centred.t().matmul(centred);
    }

    private sealed class TwoLayers : nn.Module<Tensor, Tensor>
    {
        public readonly Linear first = nn.Linear(13, 19);
        public readonly Linear second = nn.Linear(19, 7, hasBias: false);
        public readonly Dropout Dropout = nn.Dropout(0.5);

        public TwoLayers()
            : base(nameof(TwoLayers))
        {
            RegisterComponents();
            using var noGrad = no_grad();
            first.weight!.copy_(randn(19, 13, generator: new Generator(7)) * 0.3);
            first.bias!.fill_(0.1);
            second.weight!.copy_(randn(7, 19, generator: new Generator(8)));
        }

        public bool ByForward { get; init; }

        public Tensor First(Tensor x) => nn.functional.linear(x, first.weight!, first.bias!).tanh();

        public override Tensor forward(Tensor input)
        {
            using var scope = NewDisposeScope();
            Tensor h = Dropout.call((ByForward ? first.forward(input) : first.call(input)).tanh());
            return (ByForward ? second.forward(h) : second.call(h)).MoveToOuterDisposeScope();
        }
    }
}
