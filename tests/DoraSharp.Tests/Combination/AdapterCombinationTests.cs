using static TorchSharp.torch;

namespace DoraSharp.Tests.Combination;

public class AdapterCombinationTests
{
    private static readonly AdapterCombination Valid = new() { Adapters = ["a", "b"], Weights = [1, -0.5] };

    [Fact]
    public void Init_ValuesOutOfRange_NamesThem()
    {
        Throws(() => _ = Valid with { Adapters = [] }, "Adapters");
        Throws(() => _ = Valid with { Adapters = ["a", " "] }, "Adapters");
        Throws(() => _ = Valid with { Weights = [1, double.NaN] }, "Weights");
        Throws(() => _ = Valid with { Weights = [double.PositiveInfinity, 1] }, "Weights");
        Throws(() => _ = Valid with { Type = (CombinationType)99 }, "Type");
        Throws(() => _ = Valid with { MajoritySign = (MajoritySign)7 }, "MajoritySign");
        Throws(() => _ = Valid with { SvdRank = 0 }, "SvdRank");
        Throws(() => _ = Valid with { SvdClamp = 0.5 }, "SvdClamp");
        Throws(() => _ = Valid with { SvdClamp = double.NaN }, "SvdClamp");
        Throws(() => _ = Valid with { Density = 0 }, "Density");
        Throws(() => _ = Valid with { Density = 1.01 }, "Density");
        Throws(() => _ = Valid with { Density = double.NaN }, "Density");
    }

    [Fact]
    public void Init_ListsOfTheCaller_AreCopied()
    {
        string[] names = ["a", "b"];
        AdapterCombination combination = Valid with { Adapters = names };
        names[0] = "z";

        combination.Adapters.Should().Equal("a", "b");
    }

    [Fact]
    public void Check_NamesAndValuesThatDoNotFit_SaysWhich()
    {
        Valid.Invoking(c => c.Check("new", ["a", "b", "c"])).Should().NotThrow();
        Refused(Valid, "b", "*'b' already*");
        Refused(Valid, "a.b", "*no adapter name*");
        Refused(Valid with { Adapters = ["a", "d"] }, "new", "*no adapter 'd'*a, b, c*");
        Refused(Valid with { Weights = [1] }, "new", "*2 adapters and 1 weights*");
        Refused(Valid with { Type = CombinationType.Ties }, "new", "*Ties needs a Density*");
        Refused(Valid with { Density = 0.5 }, "new", "*Svd keeps all elements*");
        Refused(Valid with { Type = CombinationType.Cat, SvdRank = 3 }, "new", "*Cat makes no singular value decomposition*");
        Refused(Valid with { Type = CombinationType.DareTies, Density = 0.5, SvdClamp = 0.9 }, "new", "*DareTies makes no singular value decomposition*");

        static void Refused(AdapterCombination combination, string name, string message) =>
            combination.Invoking(c => c.Check(name, ["a", "b", "c"])).Should().Throw<ArgumentException>().WithMessage(message);
    }

    [Fact]
    public void RankOf_EachType_FollowsPeft()
    {
        (Valid with { Type = CombinationType.Cat }).RankOf([2, 3]).Should().Be(5);
        Valid.RankOf([2, 3]).Should().Be(3);
        (Valid with { SvdRank = 7 }).RankOf([2, 3]).Should().Be(7);
        (Valid with { Type = CombinationType.Linear }).RankOf([4, 4]).Should().Be(4);
        Valid.Invoking(c => (c with { Type = CombinationType.MagnitudePrune }).RankOf([2, 3])).Should().Throw<ArgumentException>().WithMessage("*2, 3*");
    }

    [Fact]
    public void Combine_SourcesThatDoNotFit_NamesTheAdapterAndThePart()
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        CombinationSource good = samples.Lora(1, 3);
        CombinationSource broken = samples.Lora(1, 3) with { Adapter = "broken" };
        Tensor infinite = broken.B.clone();
        infinite[2, 1] = double.PositiveInfinity;

        Fails<ArgumentException>(broken with { A = broken.A.narrow(1, 0, 82) }, "A of adapter 'broken' is [3, 82]; the weight needs [3, 83]*");
        Fails<ArgumentException>(broken with { B = broken.B[TensorIndex.Slice(1)] }, "B of adapter 'broken' is [60, 3]; the weight needs [61, 3]*");
        Fails<InvalidOperationException>(broken with { B = infinite }, "B of adapter 'broken'*not finite*");
        Fails<InvalidOperationException>(broken with { Scaling = double.NaN }, "*scaling of adapter 'broken'*");
        Fails<InvalidOperationException>(broken with { A = broken.A * 1e300, Scaling = 1e300 }, "*combined adapter is not finite*");
        Refused([], 3, "*no adapter to combine*");
        Refused([samples.Dora(1, 3)], 3, "*'dora' has a magnitude*");
        Refused([good, broken], 2, "*has rank 3*");

        void Refused(CombinationSource[] sources, int rank, string message)
        {
            Action combine = () => WeightCombination.Combine(Valid, sources, samples.Weight, withMagnitude: false, rank, shape => ones(shape));
            combine.Should().Throw<ArgumentException>().WithMessage(message);
        }

        void Fails<T>(CombinationSource source, string message)
            where T : Exception =>
            samples.Invoking(s => s.Combine(Valid with { Type = CombinationType.Linear }, good, source)).Should().Throw<T>().WithMessage(message);
    }

    [Fact]
    public void CombinedOptions_SourcesOfAllKinds_GivePlainOptionsOfScalingOne()
    {
        LoraOptions first = new() { Rank = 4, Alpha = 16, UseRsLora = true, Initialization = LoraInitialization.Pissa, TargetModules = ["q"], RankPattern = [new("q", 2)], Dropout = 0.1 };
        LoraOptions combined = CombinedOptions.Of([first, first with { UseDora = true }], ["m.q"], 8);

        combined.Scaling.Should().Be(1);
        combined.UseDora.Should().BeTrue();
        combined.Initialization.Should().Be(LoraInitialization.Kaiming);
        combined.RankPattern.Should().BeEmpty();
        combined.TargetModules.Should().Equal("q");
        combined.Dropout.Should().Be(0.1);
    }

    [Fact]
    public void CombinedOptions_TargetsThatDiffer_MatchExactlyThePathsGiven()
    {
        LoraOptions combined = CombinedOptions.Of([new() { TargetModules = ["q"] }, new() { TargetModules = ["q", "k"], ExcludeModules = ["x.k"] }], ["m.q", "m.k"], 8);

        combined.ExcludeModules.Should().BeNull();
        ModulePattern.Whole(combined.TargetModules.Pattern!).MatchesAll("m.k").Should().BeTrue();
        ModulePattern.Whole(combined.TargetModules.Pattern!).MatchesAll("x.m.k").Should().BeFalse();
        ModulePattern.Whole(combined.TargetModules.Pattern!).MatchesAll("mxq").Should().BeFalse();
    }

    [Fact]
    public void CombinedOptions_PartsThatWouldBeLost_AreRefusedByName()
    {
        Lost(new() { ModulesToSave = ["head"] }, "*ModulesToSave*");
        Lost(new() { Bias = BiasTraining.All }, "*Bias*");
        Lost(new() { TargetParameters = ["experts"] }, "*TargetParameters*");
        Lost(new() { GroupedUpdate = Enum.GetValues<GroupedUpdate>().Last() }, "*GroupedUpdate*");

        static void Lost(LoraOptions options, string message)
        {
            Action combine = () => CombinedOptions.Of([new(), options], ["m.q"], 8);
            combine.Should().Throw<NotSupportedException>().WithMessage(message);
        }
    }

    private static void Throws(Action action, string name) => action.Should().Throw<ArgumentException>().Which.ParamName.Should().Be(name);
}
