using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection.Lifecycle;

/// <summary>Parameters that are adapted by themselves: a matrix, and experts in both layouts, in modules that are called or forwarded.</summary>
public class BareParameterTests
{
    private const long Experts = 3;

    public static TheoryData<bool, bool, bool> Ways()
    {
        TheoryData<bool, bool, bool> data = [];
        foreach (bool transposed in (bool[])[false, true])
        {
            foreach (bool called in (bool[])[false, true])
            {
                data.Add(transposed, called, false);
                data.Add(transposed, called, true);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public void ForwardAndBackward_EqualTheDefinition(bool transposed, bool called, bool probe)
    {
        using var scope = NewDisposeScope();
        using Subject subject = new(transposed, called, probe);
        Tensor bare = subject.Bare;
        Reference.SameBits(subject.Run(), bare).Should().BeTrue("a fresh adapter changes nothing");
        Training.Disturb(subject.Adapted, "a");
        (Tensor experts, Tensor matrix, (Parameter Live, Tensor Copy)[] trained) = subject.Define();
        Tensor expected = subject.Define(experts, matrix);

        Tensor y = subject.Run();
        y.square().sum().backward();
        expected.square().sum().backward();

        Reference.RelativeError(y, expected).Should().BeLessThan(1e-12);
        trained.Should().HaveCount(4);
        foreach ((Parameter live, Tensor copy) in trained)
        {
            Reference.RelativeError(live.grad!, copy.grad!).Should().BeLessThan(1e-11);
        }

        subject.Model.named_parameters().Where(p => !p.name.Contains("adapters", StringComparison.Ordinal)).Select(p => p.parameter.grad).Should().OnlyContain(grad => ReferenceEquals(grad, null));
        Reference.RelativeError(subject.Run(), expected).Should().BeLessThan(1e-12, "the next call takes fresh values");
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public void MergeUnmergeDisableUnload_GiveBackTheBits(bool transposed, bool called, bool probe)
    {
        using var scope = NewDisposeScope();
        using Subject subject = new(transposed, called, probe);
        string[] keys = [.. Subject.MakeModel(transposed, called).state_dict().Keys];
        Training.Disturb(subject.Adapted, "a");
        Tensor y = subject.Run();
        using (subject.Adapted.Disable())
        {
            Reference.SameBits(subject.Run(), subject.Bare).Should().BeTrue();
        }

        subject.Adapted.Merge();
        Tensor merged = subject.Run();
        Reference.RelativeError(merged, y).Should().BeLessThan(1e-12);
        subject.Adapted.Unmerge();
        Reference.SameBits(subject.Run(), y).Should().BeTrue();

        subject.Adapted.Add("b", Subject.Options with { Rank = 2, TargetParameters = ["experts.weight"] });
        subject.Adapted.Activate("b", "a");
        Training.Disturb(subject.Adapted, "b");
        Tensor both = subject.Run();
        Reference.RelativeError(both, y).Should().BeGreaterThan(1e-4);
        subject.Adapted.Merge();
        Reference.RelativeError(subject.Run(), both).Should().BeLessThan(1e-12);
        subject.Adapted.Unmerge();
        subject.Adapted.Delete("b");
        Reference.SameBits(subject.Run(), y).Should().BeTrue();

        subject.Adapted.Unload();
        Reference.SameBits(subject.Run(), subject.Bare).Should().BeTrue();
        subject.Model.state_dict().Keys.Should().Equal(keys);
        subject.Model.parameters().Should().OnlyContain(p => p.requires_grad);
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public void SaveLoadAndMergeAndUnload_RoundTrip(bool transposed, bool called, bool probe)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using Subject subject = new(transposed, called, probe);
        Training.Disturb(subject.Adapted, "a");
        Tensor y = subject.Run();
        subject.Adapted.Save(folder.Path);
        using (PeftFolder file = PeftFolder.Read(folder.File("a")))
        {
            (long outputs, long inputs) = (7, 6);
            file.Tensors.ToDictionary(tensor => tensor.Name, tensor => string.Join(",", tensor.Value.shape)).Should().Equal(new Dictionary<string, string>
            {
                ["block.experts.lora_A.weight"] = $"{Experts * 4},{inputs}",
                ["block.experts.lora_B.weight"] = $"{outputs},{Experts * 4}",
                ["block.raw.lora_A.weight"] = "4,7",
                ["block.raw.lora_B.weight"] = "5,4",
            });
        }

        nn.Module<Tensor, Tensor> fresh = Subject.MakeModel(transposed, called);
        Reference.SameBits(Training.Solo(fresh, folder.File("a"), subject.Input, Subject.Injection(fresh, subject.Input, probe)), y).Should().BeTrue();

        subject.Adapted.MergeAndUnload();
        Reference.RelativeError(subject.Run(), y).Should().BeLessThan(1e-12);
        subject.Model.modules().Should().NotContain(m => m is AdapterStack);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Training_ThirtySteps_KeepsTheLiveTensorCountFlat(bool called)
    {
        using var outer = NewDisposeScope();
        using Subject subject = new(transposed: true, called, probe: true);
        using var optimizer = optim.AdamW(subject.Adapted.TrainableParameters(), lr: 1e-2);
        Step();
        Step();
        long live = LiveTensors.Count;
        for (int i = 0; i < 30; i++)
        {
            Step();
        }

        LiveTensors.Count.Should().Be(live);

        void Step()
        {
            using (NewDisposeScope())
            {
                optimizer.zero_grad();
            }

            using Tensor y = subject.Run();
            using Tensor loss = y.mean();
            loss.backward();
            using (NewDisposeScope())
            {
                optimizer.step();
            }
        }
    }

    [Fact]
    public void Forward_ThatThrows_LeavesNoSubstituteInTheStateDictNorInTheNextCall()
    {
        using var scope = NewDisposeScope();
        using Subject subject = new(transposed: false, called: true, probe: true);
        Training.Disturb(subject.Adapted, "a");
        Tensor y = subject.Run();
        string[] shapes = Shapes();
        using Tensor wrong = randn(Experts, 4, 5, dtype: ScalarType.Float64);
        subject.Model.Invoking(m => m.call(wrong)).Should().Throw<Exception>();

        Shapes().Should().Equal(shapes);
        Reference.SameBits(subject.Run(), y).Should().BeTrue();
        subject.Adapted.Unload();
        Reference.SameBits(subject.Run(), subject.Bare).Should().BeTrue();

        string[] Shapes() => [.. subject.Model.state_dict().Select(entry => $"{entry.Key}: {string.Join(",", entry.Value.shape)}")];
    }

    [Fact]
    public void Inject_WhatHasNoMeaningForAParameter_IsRefusedByName()
    {
        foreach ((LoraOptions options, string name) in ((LoraOptions, string)[])
        [
            (Subject.Options with { UseDora = true }, "UseDora"), (Subject.Options with { Dropout = 0.1 }, "Dropout"), (Subject.Options with { LoraBias = true }, "LoraBias"),
        ])
        {
            using nn.Module<Tensor, Tensor> model = Subject.MakeModel(transposed: false, called: true);
            FluentActions.Invoking(() => AdapterInjector.Inject(model, options)).Should().Throw<ArgumentException>().WithMessage($"*{name}*");
            model.parameters().Should().OnlyContain(p => p.requires_grad);
        }
    }

    private sealed class Subject : IDisposable
    {
        public static readonly LoraOptions Options = new() { Rank = 4, Alpha = 6, TargetModules = TargetModules.Create([]), TargetParameters = ["experts.weight", "raw.kernel"] };

        public Subject(bool transposed, bool called, bool probe)
        {
            Transposed = transposed;
            Model = MakeModel(transposed, called);
            Input = randn(Experts, 4, 6, dtype: ScalarType.Float64);
            Bare = Model.call(Input);
            Adapted = AdapterInjector.Inject(Model, Options, Injection(Model, Input, probe) with { AdapterName = "a" });
        }

        public nn.Module<Tensor, Tensor> Model { get; }

        public Tensor Input { get; }

        public Tensor Bare { get; }

        public AdaptedModel Adapted { get; }

        private bool Transposed { get; }

        public static nn.Module<Tensor, Tensor> MakeModel(bool transposed, bool called)
        {
            manual_seed(403);
            return new Outer(new Block(transposed, called), called);
        }

        public static InjectionOptions Injection(nn.Module<Tensor, Tensor> model, Tensor x, bool probe) => new() { Probe = probe ? () => model.call(x) : null };

        public Tensor Run() => Model.call(Input);

        /// <summary>The effective experts [E, out, in] and matrix, as functions of copies of the trained parameters.</summary>
        public (Tensor Experts, Tensor Matrix, (Parameter Live, Tensor Copy)[] Trained) Define()
        {
            LoraAdapter experts = (LoraAdapter)Adapted.Layers.Single(layer => layer.Key == "block.experts.weight").Value["a"];
            LoraAdapter raw = (LoraAdapter)Adapted.Layers.Single(layer => layer.Key == "block.raw.kernel").Value["a"];
            (Parameter Live, Tensor Copy)[] trained = [.. new[] { experts.A, experts.B, raw.A, raw.B }.Select(p => (p, Reference.Leaf(p)))];
            Tensor stored = Frozen("block.experts.weight");

            // PEFT's layout: A holds an expert's rows together, B a column of every expert in turn.
            Tensor[] updates = [.. Enumerable.Range(0, (int)BareParameterTests.Experts).Select(e =>
                trained[1].Copy.index_select(1, arange(e, 4 * BareParameterTests.Experts, BareParameterTests.Experts, ScalarType.Int64)).matmul(trained[0].Copy.narrow(0, 4 * e, 4)))];
            Tensor effective = (Transposed ? stored.transpose(1, 2) : stored) + (1.5 * stack(updates, 0));
            return (effective, Frozen("block.raw.kernel") + (1.5 * trained[3].Copy.matmul(trained[2].Copy)), trained);
        }

        public Tensor Define(Tensor experts, Tensor matrix) => Input.bmm(experts.transpose(1, 2)).tanh().matmul(matrix.t());

        public void Dispose()
        {
            Adapted.Dispose();
            Model.Dispose();
        }

        private Tensor Frozen(string name) => Model.named_parameters().Single(p => p.name == name).parameter.detach().clone();
    }

    private sealed class Outer : nn.Module<Tensor, Tensor>
    {
        private readonly Block block;
        private readonly bool calls;

        public Outer(Block block, bool calls)
            : base(nameof(Outer))
        {
            (this.block, this.calls) = (block, calls);
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => calls ? block.call(input) : block.forward(input);
    }

    private sealed class Block : nn.Module<Tensor, Tensor>
    {
        private readonly ExpertLayer experts;
        private readonly RawLayer raw = new();
        private readonly bool calls;

        public Block(bool transposed, bool calls)
            : base(nameof(Block))
        {
            experts = new(transposed);
            this.calls = calls;
            RegisterComponents();
        }

        public override Tensor forward(Tensor input)
        {
            using var scope = NewDisposeScope();
            Tensor h = (calls ? experts.call(input) : experts.forward(input)).tanh();
            return (calls ? raw.call(h) : raw.forward(h)).MoveToOuterDisposeScope();
        }
    }

    private sealed class ExpertLayer : nn.Module<Tensor, Tensor>
    {
        private readonly Parameter weight;

        public ExpertLayer(bool transposed)
            : base(nameof(ExpertLayer))
        {
            IsTransposed = transposed;
            weight = new Parameter(transposed ? randn(Experts, 6, 7, dtype: ScalarType.Float64) : randn(Experts, 7, 6, dtype: ScalarType.Float64));
            RegisterComponents();
        }

        public bool IsTransposed { get; }

        public override Tensor forward(Tensor input)
        {
            using var scope = NewDisposeScope();
            return input.bmm(IsTransposed ? weight : weight.transpose(1, 2)).MoveToOuterDisposeScope();
        }
    }

    private sealed class RawLayer : nn.Module<Tensor, Tensor>
    {
        private readonly Parameter kernel = new(randn(5, 7, dtype: ScalarType.Float64));

        public RawLayer()
            : base(nameof(RawLayer)) => RegisterComponents();

        public override Tensor forward(Tensor input)
        {
            using var scope = NewDisposeScope();
            return input.matmul(kernel.t()).MoveToOuterDisposeScope();
        }
    }
}
