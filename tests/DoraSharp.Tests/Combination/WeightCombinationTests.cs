using static TorchSharp.torch;

namespace DoraSharp.Tests.Combination;

public class WeightCombinationTests
{
    private const double Exact = 1e-10;

    [Fact]
    public void Combine_CatOfLora_IsTheSumOfTheUpdates()
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        CombinationSource[] sources = [samples.Lora(0.7, 4), samples.Lora(-0.4, 9, scaling: -1.5), samples.Lora(1.2, 1)];
        using CombinedUpdate combined = samples.Combine(Samples.As(CombinationType.Cat, sources), sources);

        combined.A.shape.Should().Equal(14, Samples.Inputs);
        combined.Magnitude.Should().BeNull();
        Reference.RelativeError(samples.With(combined), samples.Sum(sources)).Should().BeLessThan(Exact);
    }

    [Fact]
    public void Combine_CatOfDoraAndLora_IsTheSumOfTheWholeChanges()
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        CombinationSource[] sources = [samples.Dora(0.7, 4), samples.Lora(0.9, 3), samples.Dora(-0.4, 6, scaling: 1.3)];
        using CombinedUpdate combined = samples.Combine(Samples.As(CombinationType.Cat, sources), sources);

        Reference.RelativeError(samples.With(combined), samples.Sum(sources)).Should().BeLessThan(Exact);
    }

    [Theory]
    [InlineData(CombinationType.Linear)]
    [InlineData(CombinationType.Svd)]
    [InlineData(CombinationType.Cat)]
    public void Combine_OneDoraAdapter_ScalesItsWholeChange(CombinationType type)
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        CombinationSource source = samples.Dora(1, 5);
        using CombinedUpdate combined = samples.Combine(Samples.As(type, source), source);
        using CombinedUpdate half = samples.Combine(Samples.As(type, source) with { Weights = [0.5] }, source with { Weight = 0.5 });

        Reference.RelativeError(combined.Magnitude!, source.Magnitude!).Should().BeLessThan(Exact);
        Reference.RelativeError(samples.With(combined), samples.With(source)).Should().BeLessThan(Exact);
        Reference.RelativeError(samples.With(half), 0.5 * (samples.W + samples.With(source))).Should().BeLessThan(Exact);
    }

    [Fact]
    public void Combine_GainsThatAreNegativeZeroOrCancel_IsTheSumOfTheWholeChanges()
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        Tensor gain = ones(Samples.Outputs, dtype: ScalarType.Float64);
        gain[3] = -0.6;
        gain[4] = 0;
        gain[5] = -1;
        gain[6] = 1e-9;

        // Rows 5 and 6 end up with gains of 0 and 1e-9: what is left of them lies in the adapters' update alone.
        CombinationSource[] sources = [samples.Dora(1, 4, gain: gain), samples.Dora(0.5, 3, gain: where(gain.eq(-1), 3, ones_like(gain)))];
        using CombinedUpdate combined = samples.Combine(Samples.As(CombinationType.Cat, sources), sources);

        Tensor expected = samples.Sum(sources);
        Tensor error = linalg.vector_norm(samples.With(combined) - expected, ord: 2, dims: [1]) / linalg.vector_norm(samples.W, ord: 2, dims: [1]);
        error.max().item<double>().Should().BeLessThan(2e-6);
        error[3].item<double>().Should().BeLessThan(Exact);
        combined.Magnitude![3].item<double>().Should().BeNegative();
    }

    [Fact]
    public void Combine_RowsWithoutUpdate_KeepTheirGainExactly()
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        CombinationSource fresh = samples.Dora(1, 4) with { B = zeros(Samples.Outputs, 4, dtype: ScalarType.Float64) };
        Tensor norm = samples.Weight.SquaredRowNorms().sqrt();
        Tensor magnitude = norm.clone();
        magnitude[7] = 0;
        using CombinedUpdate combined = samples.Combine(Samples.As(CombinationType.Cat, fresh), fresh with { Magnitude = magnitude });

        Reference.SameBits(combined.Magnitude!, magnitude).Should().BeTrue();
        combined.B.count_nonzero().item<long>().Should().Be(0);
    }

    [Fact]
    public void Combine_SvdBelowTheSumsRank_IsTheClosestOfThatRank()
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        CombinationSource[] sources = [samples.Lora(0.7, 6), samples.Lora(-0.4, 8)];
        using CombinedUpdate combined = samples.Combine(Samples.As(CombinationType.Svd, sources) with { SvdRank = 5 }, sources);

        Tensor sum = samples.Sum(sources) - samples.W;
        Tensor rest = linalg.svdvals(sum)[TensorIndex.Slice(5)];
        combined.A.shape.Should().Equal(5, Samples.Inputs);
        double error = (combined.B.matmul(combined.A) - sum).norm().item<double>();
        error.Should().BeApproximately(rest.norm().item<double>(), 1e-9);
    }

    [Fact]
    public void Combine_SvdOfDora_LosesOfTheUpdateOnlyAndNothingOfTheMagnitudes()
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        CombinationSource[] sources = [samples.Dora(0.7, 6), samples.Dora(0.4, 8)];
        Tensor expected = samples.Sum(sources);
        using CombinedUpdate full = samples.Combine(Samples.As(CombinationType.Svd, sources) with { SvdRank = 20 }, sources);
        using CombinedUpdate cut = samples.Combine(Samples.As(CombinationType.Svd, sources) with { SvdRank = 9 }, sources);

        full.A.shape.Should().Equal(20, Samples.Inputs);
        Reference.RelativeError(samples.With(full), expected).Should().BeLessThan(Exact);

        Tensor update = sources.Select(source => source.Weight * source.Scaling * Gain(samples, source).unsqueeze(1) * source.B.matmul(source.A)).Aggregate((x, y) => x + y);
        double lost = linalg.svdvals(update)[TensorIndex.Slice(9)].norm().item<double>();
        (samples.With(cut) - expected).norm().item<double>().Should().BeApproximately(lost, 1e-9);
    }

    [Theory]
    [InlineData(CombinationType.Ties, MajoritySign.Total)]
    [InlineData(CombinationType.Ties, MajoritySign.Frequency)]
    [InlineData(CombinationType.DareTies, MajoritySign.Frequency)]
    [InlineData(CombinationType.DareLinear, MajoritySign.Total)]
    [InlineData(CombinationType.MagnitudePrune, MajoritySign.Total)]
    public void Combine_FactorsOneByOne_EqualsTheDefinitionElementByElement(CombinationType type, MajoritySign election)
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        CombinationSource[] sources = [samples.Lora(0.7, 5), samples.Lora(-0.4, 5, scaling: 2), samples.Lora(1.1, 5)];
        List<double[]> drawn = [];
        AdapterCombination combination = Samples.As(type, sources) with { Density = 0.37, MajoritySign = election, Seed = 11 };
        using KeepMasks masks = new(0.37, 11);
        using CombinedUpdate combined = samples.Combine(combination, shape => Record(masks.Next(shape)), sources);

        double[] factors = [.. sources.Select(source => source.Weight * source.Scaling)];
        double[][] masksOfA = [.. drawn.Take(3)];
        double[][] masksOfB = [.. drawn.Skip(3)];
        Check(combined.A, ElementwiseMerge.Of(type, election, [.. sources.Select(s => Values(s.A))], [.. factors.Select(f => Math.Sign(f) * Math.Sqrt(Math.Abs(f)))], 0.37, masksOfA));
        Check(combined.B, ElementwiseMerge.Of(type, election, [.. sources.Select(s => Values(s.B))], [.. factors.Select(f => Math.Sqrt(Math.Abs(f)))], 0.37, masksOfB));

        Tensor Record(Tensor mask)
        {
            drawn.Add(Values(mask));
            return mask;
        }
    }

    [Theory]
    [InlineData(CombinationType.TiesSvd)]
    [InlineData(CombinationType.DareTiesSvd)]
    [InlineData(CombinationType.DareLinearSvd)]
    [InlineData(CombinationType.MagnitudePruneSvd)]
    public void Combine_UpdatesAtFullRank_EqualsTheDefinitionElementByElement(CombinationType type)
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        CombinationSource[] sources = [samples.Dora(0.7, 4), samples.Lora(-0.4, 6, scaling: 2)];
        AdapterCombination combination = Samples.As(type, sources) with { Density = 0.5, SvdRank = Samples.Outputs, Seed = 3 };
        List<double[]> drawn = [];
        using KeepMasks masks = new(0.5, 3);
        using CombinedUpdate combined = samples.Combine(combination, shape => Record(masks.Next(shape)), sources);

        // The gains are merged as they are; the updates are pruned first.
        double[] weights = [0.7, -0.4];
        double[][] gains = [Values(Gain(samples, sources[0]) - 1), new double[Samples.Outputs]];
        Tensor c = 1 + tensor(ElementwiseMerge.Of(type, MajoritySign.Total, gains, weights, density: 1, masks: []));
        double[][] updates = [.. sources.Select(source => Values(source.Scaling * Gain(samples, source).unsqueeze(1) * source.B.matmul(source.A)))];
        Tensor u = tensor(ElementwiseMerge.Of(type, MajoritySign.Total, updates, weights, 0.5, [.. drawn])).reshape(Samples.Outputs, Samples.Inputs);
        Reference.RelativeError(samples.With(combined), (c.unsqueeze(1) * samples.W) + u).Should().BeLessThan(Exact);

        Tensor Record(Tensor mask)
        {
            drawn.Add(Values(mask));
            return mask;
        }
    }

    [Fact]
    public void Combine_SvdClamp_LimitsTheFactorsAndOneLimitsNothing()
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        CombinationSource[] sources = [samples.Lora(0.7, 4), samples.Lora(0.4, 4)];
        AdapterCombination combination = Samples.As(CombinationType.Svd, sources) with { SvdRank = 8 };
        using CombinedUpdate free = samples.Combine(combination, sources);
        using CombinedUpdate unlimited = samples.Combine(combination with { SvdClamp = 1 }, sources);
        using CombinedUpdate limited = samples.Combine(combination with { SvdClamp = 0.9 }, sources);

        // The reference: libtorch's quantile of the elements with both signs.
        Tensor elements = cat([free.A.flatten(), free.B.flatten()], dim: 0);
        double limit = quantile(cat([elements, -elements], dim: 0), tensor(0.9, dtype: ScalarType.Float64)).item<double>();
        Reference.SameBits(unlimited.B, free.B).Should().BeTrue();
        Reference.RelativeError(limited.A, free.A.clamp(-limit, limit)).Should().BeLessThan(0.01);
        Reference.RelativeError(limited.B, free.B.clamp(-limit, limit)).Should().BeLessThan(0.01);
        limited.B.abs().max().item<double>().Should().BeApproximately(limit, limit * 0.01);
    }

    [Fact]
    public void Combine_RankAboveTheNeeded_FillsWithZeros()
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        CombinationSource[] sources = [samples.Lora(0.7, 3), samples.Lora(0.4, 3)];
        using CombinedUpdate combined = WeightCombination.Combine(Samples.As(CombinationType.Cat, sources), sources, samples.Weight, withMagnitude: true, 10, NoMask);

        combined.A.shape.Should().Equal(10, Samples.Inputs);
        combined.B.shape.Should().Equal(Samples.Outputs, 10);
        combined.A[TensorIndex.Slice(6)].count_nonzero().item<long>().Should().Be(0);
        Reference.RelativeError(samples.With(combined), samples.Sum(sources)).Should().BeLessThan(Exact);
    }

    [Fact]
    public void Combine_BiasesOfB_AddUpWithTheUpdates()
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        CombinationSource plain = samples.Lora(0.7, 3);
        CombinationSource biased = samples.Lora(-0.4, 3, scaling: 2) with { Bias = samples.Random(Samples.Outputs) };
        using CombinedUpdate combined = samples.Combine(Samples.As(CombinationType.Svd, plain, biased), plain, biased);
        Action withDora = () => samples.Combine(Samples.As(CombinationType.Cat, samples.Dora(1, 3), biased), samples.Dora(1, 3), biased);

        Reference.RelativeError(combined.Bias!, -0.8 * biased.Bias!).Should().BeLessThan(Exact);
        withDora.Should().Throw<NotSupportedException>().WithMessage("*'lora'*bias*");
    }

    [Fact]
    public void Combine_SameSeed_GivesTheSameAdapter()
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        CombinationSource[] sources = [samples.Lora(0.7, 4), samples.Lora(0.4, 4)];
        AdapterCombination combination = Samples.As(CombinationType.DareLinear, sources) with { Density = 0.6, Seed = 9 };
        using CombinedUpdate first = samples.Combine(combination, sources);
        using CombinedUpdate second = samples.Combine(combination, sources);
        using CombinedUpdate other = samples.Combine(combination with { Seed = 10 }, sources);

        Reference.SameBits(first.A, second.A).Should().BeTrue();
        Reference.SameBits(first.A, other.A).Should().BeFalse();
    }

    [Fact]
    public void Combine_SourcesOfFloat32_ChangesNoneAndLeavesNoTensorBehind()
    {
        using var scope = NewDisposeScope();
        using Samples samples = new();
        CombinationSource[] sources = [Single(samples.Dora(0.7, 4)), samples.Dora(-0.4, 4)];
        Tensor a = sources[1].A.clone();
        long before = LiveTensors.Count;
        foreach (CombinationType type in Enum.GetValues<CombinationType>())
        {
            using CombinedUpdate combined = samples.Combine(Samples.As(type, sources) with { Density = type.Prunes() ? 0.5 : null, Seed = 1 }, sources);
            combined.A.dtype.Should().Be(ScalarType.Float32);
        }

        // The frozen weight keeps its squared row norms.
        samples.Weight.Dispose();
        LiveTensors.Count.Should().BeLessThanOrEqualTo(before);
        Reference.SameBits(sources[1].A, a).Should().BeTrue();
    }

    private static CombinationSource Single(CombinationSource source) => source with
    {
        A = source.A.to(ScalarType.Float32),
        B = source.B.to(ScalarType.Float32),
        Magnitude = source.Magnitude!.to(ScalarType.Float32),
    };

    private static Tensor Gain(Samples samples, CombinationSource source) => source.Magnitude is null
        ? ones(Samples.Outputs, dtype: ScalarType.Float64)
        : source.Magnitude / linalg.vector_norm(samples.W + (source.Scaling * source.B.matmul(source.A)), ord: 2, dims: [1]);

    private static double[] Values(Tensor tensor) => tensor.contiguous().data<double>().ToArray();

    private static void Check(Tensor actual, double[] expected) =>
        Reference.RelativeError(actual.flatten(), tensor(expected)).Should().BeLessThan(Exact);

    private static Tensor NoMask(long[] shape) => throw new InvalidOperationException("No mask is drawn here.");
}
