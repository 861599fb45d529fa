using System.Runtime.InteropServices;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Checkpointing;

public class CheckpointTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Run_BlockWithDropout_GivesOutputGradientsAndRandomNumbersBitForBit(bool inputTrains)
    {
        using var scope = NewDisposeScope();
        manual_seed(5);
        using CheckpointBlock block = new(37, 53, dropout: .3);
        Tensor x = randn(6, 37);
        Result expected = Train(block.call);
        Result found = Train(input => Checkpoint.Run(block, input));

        Reference.SameBits(found.Output, expected.Output).Should().BeTrue();
        Reference.SameBits(found.NextNumber, expected.NextNumber).Should().BeTrue("the generator goes on as if nothing had happened");
        found.Gradients.Should().HaveCount(inputTrains ? 7 : 6).And.OnlyContain(pair => Reference.SameBits(pair.Value, expected.Gradients[pair.Key]));

        Result Train(Func<Tensor, Tensor> run)
        {
            manual_seed(6);
            block.zero_grad();
            Tensor input = x.clone().requires_grad_(inputTrains);
            Tensor y = run(input);
            y.square().sum().backward();
            Dictionary<string, Tensor> gradients = block.named_parameters().ToDictionary(p => p.name, p => p.parameter.grad!.clone());
            if (inputTrains)
            {
                gradients.Add("input", input.grad!);
            }

            return new(y, gradients, randn(3));
        }
    }

    [Fact]
    public void Run_Nested_GivesTheSameGradients()
    {
        using var scope = NewDisposeScope();
        manual_seed(7);
        using CheckpointBlock first = new(37, 53, dropout: .3), second = new(37, 41, dropout: .3);
        Tensor x = randn(6, 37, requires_grad: true);
        Tensor[] expected = Gradients(() => second.call(first.call(x)));
        Tensor[] found = Gradients(() => Checkpoint.Run(input => Checkpoint.Run(second, Checkpoint.Run(first, input)), x));

        found.Zip(expected).Should().HaveCount(13).And.OnlyContain(pair => Reference.SameBits(pair.First, pair.Second));

        Tensor[] Gradients(Func<Tensor> run)
        {
            manual_seed(8);
            Tensor[] leaves = [x, .. first.parameters(), .. second.parameters()];
            Array.ForEach(leaves, leaf => leaf.grad = null);
            run().square().sum().backward();
            return Array.ConvertAll(leaves, leaf => leaf.grad!.clone());
        }
    }

    [Fact]
    public void Run_SeveralInputsAndOutputs_GivesGradientsWhereTheyFlow()
    {
        using var scope = NewDisposeScope();
        manual_seed(9);
        Tensor a = randn(5, 3, requires_grad: true), b = randn(5, 3, requires_grad: true), c = randn(5, 3);
        Tensor rows = tensor([4L, 1L, 1L]);

        IReadOnlyList<Tensor> outputs = Checkpoint.Run(t => [t[0] * t[2], (t[0] * t[1]).index_select(0, t[3]), t[3] + 1, t[2] * 2], [a, b, c, rows]);

        outputs.Select(output => output.requires_grad).Should().Equal(true, true, false, false);
        outputs[2].data<long>().ToArray().Should().Equal(5, 2, 2);
        (outputs[1].sum() * 3).backward();
        Tensor counts = tensor([0f, 6, 0, 0, 3]).unsqueeze(1);
        Reference.RelativeError(a.grad!, b * counts).Should().BeLessThan(1e-7);
        Reference.RelativeError(b.grad!, a * counts).Should().BeLessThan(1e-7);
        c.grad.Should().BeNull();
    }

    [Fact]
    public void Run_NothingToTrain_JustRuns()
    {
        using var scope = NewDisposeScope();
        using CheckpointBlock block = new(37, 53, dropout: .3);
        int runs = 0;
        block.Midway = () => runs++;
        Tensor x = randn(6, 37);
        using (no_grad())
        {
            Checkpoint.Run(block, x).requires_grad.Should().BeFalse();
        }

        block.parameters().ToList().ForEach(parameter => parameter.requires_grad = false);
        Checkpoint.Run(block, x).requires_grad.Should().BeFalse();
        runs.Should().Be(2);
    }

    [Fact]
    public void Run_FunctionThatReturnsItsInput_PassesTheGradientOn()
    {
        using var scope = NewDisposeScope();
        Tensor x = randn(6, 37, requires_grad: true);
        Tensor y = Checkpoint.Run(input => input, x);
        (y * 2).sum().backward();
        Reference.SameBits(x.grad!, full_like(x, 2)).Should().BeTrue();
    }

    [Fact]
    public void Run_LargeActivations_KeepsOnlyTheInput()
    {
        using var scope = NewDisposeScope();
        const long Megabyte = 1 << 20;
        Tensor x = randn(Megabyte / 4, requires_grad: true);
        Tensor Deep(Tensor input) => Enumerable.Range(0, 12).Aggregate(input, (t, _) => t.tanh());
        long tensors = LiveTensors.Count;
        long before = NativeHeap.BytesInUse();
        Tensor y = Checkpoint.Run(Deep, x);
        long kept = NativeHeap.BytesInUse() - before;

        kept.Should().BeInRange(Megabyte / 2, 2 * Megabyte, "the output is there, and nothing else");
        LiveTensors.Count.Should().Be(tensors + 1);
        using (var plain = NewDisposeScope())
        {
            before = NativeHeap.BytesInUse();
            _ = Deep(x);
            (NativeHeap.BytesInUse() - before).Should().BeGreaterThan(11 * Megabyte);
        }

        y.sum().backward();
        x.grad.Should().NotBeNull();
    }

    [Fact]
    public void Steps_Many_LeakNothing()
    {
        using CheckpointBlock block = new(256, 64, dropout: .3);
        Run(40);
        long tensors = LiveTensors.Count;
        long bytes = NativeHeap.BytesInUse();
        Run(40);

        LiveTensors.Count.Should().Be(tensors);

        // The runtime itself takes and gives back a megabyte or two at times, while it compiles.
        (NativeHeap.BytesInUse() - bytes).Should().BeLessThan(40L * 256 * 1024, "a quarter of an input for each step");

        void Run(int steps)
        {
            for (int i = 0; i < steps; i++)
            {
                using var scope = NewDisposeScope();
                ForgetGradients();
                Checkpoint.Run(input => Checkpoint.Run(block, input), randn(1024, 256)).sum().backward();
            }

            ForgetGradients();
        }

        // zero_grad would leave the gradients to the garbage collector, and so the heap's size to chance.
        void ForgetGradients()
        {
            foreach (Parameter parameter in block.parameters())
            {
                using Tensor? gradient = parameter.grad;
                parameter.grad = null;
            }
        }
    }

    [Fact]
    public void Backward_ModuleThatThrows_GivesTheCallerItsExceptionAndLeavesTheNextStepAlone()
    {
        using var scope = NewDisposeScope();
        manual_seed(10);
        using CheckpointBlock block = new(37, 53, dropout: .3);
        Tensor x = randn(6, 37);
        Tensor y = Checkpoint.Run(block, x);
        block.Midway = () => throw new TimeoutException("too late");
        Tensor next = Next();

        y.Invoking(output => output.sum().backward()).Should().Throw<ExternalException>().WithMessage("*too late*")
            .WithInnerException<TimeoutException>().Which.StackTrace.Should().Contain(nameof(CheckpointBlock));
        Reference.SameBits(Next(), next).Should().BeTrue("the generator is where it was");
        is_grad_enabled().Should().BeTrue();

        block.Midway = null;
        block.zero_grad();
        Checkpoint.Run(block, x).sum().backward();
        block.parameters().Should().OnlyContain(parameter => parameter.grad as object != null);

        Tensor Next()
        {
            using RandomState state = new();
            return randn(3);
        }
    }

    [Fact]
    public void Run_FunctionThatThrows_PassesItsExceptionOn()
    {
        using var scope = NewDisposeScope();
        Tensor x = randn(6, 37, requires_grad: true);
        long before = LiveTensors.Count;
        Func<Tensor> run = () => Checkpoint.Run(new Func<Tensor, Tensor>(input => (input * 2).add(input[..4])), x);
        run.Should().Throw<ExternalException>().WithMessage("*size*");
        LiveTensors.Count.Should().Be(before);
    }

    [Fact]
    public void Backward_SomeGradientsOnly_GivesThoseAndTouchesNoOthers()
    {
        using var scope = NewDisposeScope();
        manual_seed(11);
        using CheckpointBlock block = new(37, 53, dropout: .3);
        Tensor x = randn(6, 37, requires_grad: true);
        Tensor[] leaves = [x, .. block.parameters()];
        IList<Tensor> expected = Gradients(block.call);
        IList<Tensor> found = Gradients(input => Checkpoint.Run(block, input));
        IList<Tensor> nested = Gradients(input => Checkpoint.Run(inner => Checkpoint.Run(block, inner), input), count: 1);

        found.Zip(expected).Should().HaveCount(7).And.OnlyContain(pair => Reference.SameBits(pair.First, pair.Second));
        Reference.SameBits(nested[0], expected[0]).Should().BeTrue();
        leaves.Should().OnlyContain(leaf => leaf.grad as object == null);
        autograd.backward([Checkpoint.Run(block, x).sum()], null, inputs: [x]);
        leaves.Select(leaf => leaf.grad is null).Should().Equal(false, true, true, true, true, true, true);

        IList<Tensor> Gradients(Func<Tensor, Tensor> run, int count = 7)
        {
            manual_seed(12);
            return autograd.grad([run(x).square().sum()], leaves[..count]);
        }
    }

    [Fact]
    public void Backward_SecondDerivatives_AreRefused()
    {
        using var scope = NewDisposeScope();
        using CheckpointBlock block = new(37, 53, dropout: .3);
        Tensor x = randn(6, 37, requires_grad: true);
        Refuse(() => Loss().backward([ones([])], create_graph: true, retain_graph: true));
        x.grad.Should().BeNull();
        block.parameters().Should().OnlyContain(parameter => parameter.grad as object == null);

        IList<Tensor> gradients = autograd.grad([Loss()], [x, block.parameters().First()], create_graph: true);
        gradients.Should().OnlyContain(gradient => gradient.requires_grad);
        Refuse(() => gradients[0].square().sum().backward());
        Refuse(() => gradients[1].square().sum().backward());

        Tensor Loss() => Checkpoint.Run(block, x).sum();

        static void Refuse(Action action) =>
            action.Should().Throw<ExternalException>().WithInnerException<NotSupportedException>().WithMessage("*second derivatives*");
    }

    public static TheoryData<string> Changes() => ["weight in place", "weight replaced", "mode", "shape", "no gradient"];

    [Theory]
    [MemberData(nameof(Changes))]
    public void Backward_SomethingElseThanBefore_IsRefused(string change)
    {
        using var scope = NewDisposeScope();
        using CheckpointBlock block = new(37, 53, dropout: .3);
        bool changed = false;
        Tensor x = randn(6, 37, requires_grad: true);
        Tensor y = change switch
        {
            "shape" => Checkpoint.Run(input => changed ? input[..2] : input * 2, x),
            "no gradient" => Checkpoint.Run(input => changed ? input.detach() : input * 2, x),
            _ => Checkpoint.Run(block, x),
        };
        changed = true;
        switch (change)
        {
            case "weight in place":
                using (no_grad())
                {
                    block.parameters().First().mul_(2);
                }

                break;
            case "weight replaced":
                block.to(ScalarType.Float64);
                break;
            case "mode":
                block.eval();
                break;
        }

        y.Invoking(output => output.sum().backward()).Should().Throw<ExternalException>().WithInnerException<InvalidOperationException>();
        x.grad.Should().BeNull();
    }

    [Fact]
    public void Run_InputChangedInPlace_IsRefused()
    {
        using var scope = NewDisposeScope();
        Tensor x = randn(6, 37, requires_grad: true) * 1;
        Func<Tensor> run = () => Checkpoint.Run(new Func<Tensor, Tensor>(input => input.add_(1)), x);
        run.Should().Throw<InvalidOperationException>().WithMessage("*input 0*changed in place*");

        Tensor y = Checkpoint.Run(input => input.tanh(), x);
        x.mul_(2);
        y.Invoking(output => output.sum().backward()).Should().Throw<ExternalException>().WithInnerException<ExternalException>().WithMessage("*modified by an inplace operation*");
    }

    private sealed record Result(Tensor Output, Dictionary<string, Tensor> Gradients, Tensor NextNumber);
}
