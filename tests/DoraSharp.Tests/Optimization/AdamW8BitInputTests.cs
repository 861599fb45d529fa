using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Optimization;

/// <summary>What cannot be optimized is refused by name, before anything is changed.</summary>
public class AdamW8BitInputTests
{
    private static readonly AdamW8BitOptions Options = new() { LearningRate = 0.02 };

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.NegativeInfinity)]
    [InlineData(2e19f)]
    public void Step_GradientThatSpoilsTheStates_FailsAndChangesNothing(float bad)
    {
        using var scope = NewDisposeScope();
        Parameter[] parameters = [Random(70, 90), Random(70, 90), Random(5, 7)];
        using AdamW8Bit optimizer = new([new AdamW.ParamGroup(parameters[..1], new()), new AdamW.ParamGroup(parameters[1..], new())], Options);
        foreach (Parameter parameter in parameters)
        {
            parameter.grad = randn(parameter.shape);
        }

        optimizer.step();
        parameters[2].grad![3, 2] = bad;

        Fails<InvalidOperationException>(optimizer, parameters, "The gradient of Group 1, parameter 1 has NaN or infinite values*");
    }

    [Fact]
    public void Step_SparseGradient_FailsAndChangesNothing()
    {
        using var scope = NewDisposeScope();
        using Embedding embedding = nn.Embedding(100, 60, sparse: true);
        Parameter dense = Random(70, 90);
        dense.grad = randn(70, 90);
        using AdamW8Bit optimizer = new([dense, embedding.weight!], Options);
        embedding.call(tensor(new long[] { 3, 5, 3 })).square().sum().backward();

        Fails<InvalidOperationException>(optimizer, [dense, embedding.weight!], "The gradient of Group 0, parameter 1 is sparse*");
    }

    [Fact]
    public void Step_OptionsWereSetOutOfRange_FailsAndChangesNothing()
    {
        using var scope = NewDisposeScope();
        Parameter[] parameters = [Random(70, 90), Random(70, 90)];
        using AdamW8Bit optimizer = new([new AdamW.ParamGroup(parameters[..1], new()), new AdamW.ParamGroup(parameters[1..], new())], Options);
        parameters[0].grad = randn(70, 90);
        optimizer.ParamGroups.Last().LearningRate = double.NaN;

        Fails<ArgumentException>(optimizer, parameters, "Group 1: LearningRate must be a finite number, 0 or more*");
    }

    [Fact]
    public void Create_ParametersThatCannotBeStepped_FailsAndChangesNoGroup()
    {
        using var scope = NewDisposeScope();
        Parameter one = Random(70, 90), two = Random(70, 90);
        Parameter exact = new(randn([70, 90], ScalarType.Float64));
        long before = LiveTensors.Count;

        Fails("Group 1 has no parameters.", new([one], new()), new([], new()));
        Fails("Group 1, parameter 1 was there before*", new([one], new()), new([two, one], new()));
        Fails("Group 1, parameter 0 is Float64; convert it*", new([one], new()), new([exact], new()));
        Fails("Group 1, parameter 0 is null.", new([one], new()), new([null!], new()));
        Fails("Group 1: WeightDecay must be*", new([one], new()), new([two], new() { weight_decay = -1 }));
        Fails("Group 1 asks for AMSGrad*", new([one], new()), new([two], new() { amsgrad = true }));
        Fails("An optimizer needs a group of parameters.*");
        LiveTensors.Count.Should().Be(before);

        // An optimizer that was refused must not fail in its finalizer.
        GC.Collect();
        GC.WaitForPendingFinalizers();

        static void Fails(string message, params AdamW.ParamGroup[] groups)
        {
            FluentActions.Invoking(() => new AdamW8Bit(groups, Options)).Should().Throw<ArgumentException>().WithMessage(message);
            groups.Where(group => group.Options.LearningRate is not null).Should().BeEmpty();
        }
    }

    [Fact]
    public void AddParamGroup_ThatCannotBeStepped_FailsAndAddsNothing()
    {
        using var scope = NewDisposeScope();
        Parameter one = Random(70, 90), two = Random(70, 90);
        using AdamW8Bit optimizer = new([one], Options);

        Fails(new AdamW.ParamGroup([two, one], new()), "Group 1, parameter 1 was there before*");
        Fails(new ParamGroup<SGD.Options>([two], new()), "Group 1 has options of *SGD*");
        optimizer.ParamGroups.Should().HaveCount(1);
        optimizer.state_dict().State.Should().HaveCount(1);

        optimizer.add_param_group(new ParamGroup { Parameters = [two] });
        optimizer.ParamGroups.Select(group => group.LearningRate).Should().Equal(0.02, 0.02);
        optimizer.parameters().Should().Equal(one, two);

        void Fails(ParamGroup refused, string message) =>
            FluentActions.Invoking(() => optimizer.add_param_group(refused)).Should().Throw<ArgumentException>().WithMessage(message);
    }

    [Fact]
    public void Create_ParametersComeFromAQuery_TakesThemOnce()
    {
        using var scope = NewDisposeScope();
        int asked = 0;
        Parameter one = Random(70, 90);
        using AdamW8Bit optimizer = new(Query(), Options);
        one.grad = randn(70, 90);
        optimizer.step();
        optimizer.zero_grad();

        asked.Should().Be(1);

        IEnumerable<Parameter> Query()
        {
            asked++;
            yield return one;
        }
    }

    [Fact]
    public void Step_ParameterWithoutElements_IsPassedOver()
    {
        using var scope = NewDisposeScope();
        Parameter none = new(zeros(0, 5));
        Parameter scalar = new(tensor(3f));
        none.grad = zeros(0, 5);
        scalar.grad = tensor(2f);
        using AdamW8Bit optimizer = new([none, scalar], Options with { Min8BitSize = 0, WeightDecay = 0 });

        optimizer.step();

        scalar.item<float>().Should().BeApproximately(2.98f, 1e-6f);
    }

    [Fact]
    public void Options_ValuesOutOfRange_NameThem()
    {
        Throws(() => _ = Options with { LearningRate = double.NaN }, nameof(AdamW8BitOptions.LearningRate));
        Throws(() => _ = Options with { Beta1 = 1 }, nameof(AdamW8BitOptions.Beta1));
        Throws(() => _ = Options with { Beta2 = -0.1 }, nameof(AdamW8BitOptions.Beta2));
        Throws(() => _ = Options with { Epsilon = double.PositiveInfinity }, nameof(AdamW8BitOptions.Epsilon));
        Throws(() => _ = Options with { WeightDecay = -1e-9 }, nameof(AdamW8BitOptions.WeightDecay));
        Throws(() => _ = Options with { Min8BitSize = -1 }, nameof(AdamW8BitOptions.Min8BitSize));

        static void Throws(Action action, string name) => action.Should().Throw<ArgumentOutOfRangeException>().WithParameterName(name);
    }

    private static void Fails<TError>(AdamW8Bit optimizer, Parameter[] parameters, string message)
        where TError : Exception
    {
        Tensor[] before = [.. parameters.Select(parameter => parameter.detach().clone())];
        byte[] state = State(optimizer);
        FluentActions.Invoking(() => optimizer.step()).Should().Throw<TError>().WithMessage(message);
        parameters.Zip(before).Should().OnlyContain(pair => Reference.SameBits(pair.First, pair.Second));
        State(optimizer).Should().Equal(state);
    }

    private static byte[] State(AdamW8Bit optimizer)
    {
        using MemoryStream stream = new();
        using BinaryWriter writer = new(stream);
        foreach (OptimizerState state in optimizer.state_dict().State)
        {
            state.SaveStateDict(writer);
        }

        return stream.ToArray();
    }

    private static Parameter Random(params long[] shape)
    {
        using Generator generator = new((ulong)shape[0]);
        return new(randn(shape, generator: generator));
    }
}
