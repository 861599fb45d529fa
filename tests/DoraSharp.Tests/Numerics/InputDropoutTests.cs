using static TorchSharp.torch;

namespace DoraSharp.Tests.Numerics;

public class InputDropoutTests
{
    [Theory]
    [InlineData(0.05)]
    [InlineData(0.5)]
    [InlineData(0.999)]
    public void Next_AnyProbability_DropsThatShareAndScalesTheRest(double p)
    {
        using var scope = NewDisposeScope();
        manual_seed(41);
        const long Count = 3_000_017;
        Tensor y = InputDropout.Next(empty(Count), p).Apply(ones(Count));
        long kept = y.ne(0).sum().item<long>();

        // Five standard deviations.
        Math.Abs(kept - ((1 - p) * Count)).Should().BeLessThan(5 * Math.Sqrt(p * (1 - p) * Count));
        y.max().item<float>().Should().BeApproximately((float)(1 / (1 - p)), 1e-3f * (float)(1 / (1 - p)));
        y.unique(sorted: true).output.shape[0].Should().Be(2);
    }

    [Fact]
    public void Next_ManyMasks_ShowNoCorrelationBetweenElementsRowsOrSeeds()
    {
        using var scope = NewDisposeScope();
        manual_seed(42);
        const int Rows = 64;
        const int Columns = 4096;
        Tensor first = Centred();
        Tensor second = Centred();
        const double Bound = 5 / 512.0;

        Correlation(first, second).Should().BeLessThan(Bound);
        foreach (int shift in (int[])[1, 2, 3, 7, 8, 16, 255, 1024])
        {
            Correlation(first, first.roll([shift], [1])).Should().BeLessThan(Bound, "of elements {0} apart", shift);
            Correlation(first, second.roll([shift], [1])).Should().BeLessThan(Bound, "of masks {0} apart", shift);
        }

        foreach (int shift in (int[])[1, 2, 8, 32])
        {
            Correlation(first, first.roll([shift], [0])).Should().BeLessThan(Bound, "of rows {0} apart", shift);
        }

        // The numbers kept in each row and column vary as independent draws do.
        first.mean([1]).std().item<float>().Should().BeInRange(.5f * .75f / 64, .5f * 1.25f / 64);
        first.mean([0]).std().item<float>().Should().BeInRange(.5f * .9f / 8, .5f * 1.1f / 8);

        Tensor Centred() => InputDropout.Next(empty(1), .5).Factors(empty(Rows, Columns)).mul(.5).sub(.5);

        double Correlation(Tensor a, Tensor b) => Math.Abs((a * b).mean().item<float>()) * 4;
    }

    [Fact]
    public void Next_PositionsBeyond32Bits_GetBitsOfTheirOwn()
    {
        DropoutBits bits = new(7, .5);
        const long Far = 1L << 32;
        int equal = 0;
        for (long i = 0; i < 8000; i += DropoutBits.Step)
        {
            equal += DropoutBits.Step - System.Numerics.BitOperations.PopCount(System.Runtime.Intrinsics.Vector256.ExtractMostSignificantBits(bits.Kept(i) ^ bits.Kept(Far + i)));
        }

        equal.Should().BeInRange(3775, 4225);
    }

    [Fact]
    public void Next_SameGeneratorState_GivesTheSameMaskAndAnotherNext()
    {
        using var scope = NewDisposeScope();
        Tensor x = randn(37, 53);
        manual_seed(43);
        Tensor first = InputDropout.Apply(x, .3);
        Tensor second = InputDropout.Apply(x, .3);
        manual_seed(43);
        Tensor again = InputDropout.Apply(x, .3);

        Reference.SameBits(first, again).Should().BeTrue();
        Reference.SameBits(first, second).Should().BeFalse();
    }

    [Theory]
    [InlineData(ScalarType.Float64)]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float16)]
    public void Factors_OtherDtypes_AreTheSameMask(ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        CountedMask mask = new(99, .25);
        Tensor single = mask.Factors(empty(37, 53));

        Reference.SameBits(mask.Factors(empty(37, 53, dtype: dtype)).ne(0), single.ne(0)).Should().BeTrue();
        mask.Factors(empty(37, 53, dtype: dtype)).dtype.Should().Be(dtype);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(8)]
    [InlineData(1961)]
    [InlineData(300_003)]
    public void ApplyAndAddTo_AnyLength_UseTheMaskThatFactorsShows(long count)
    {
        using var scope = NewDisposeScope();
        manual_seed(44);
        CountedMask mask = new(98, .25);
        Tensor x = randn(count);
        Tensor target = randn(count);
        Tensor before = target.clone();
        Tensor factors = mask.Factors(x);
        mask.AddTo(target, x);

        Reference.MaxRelativeError(mask.Apply(x), x * factors).Should().BeLessThan(1e-7);
        Reference.MaxRelativeError(target, before + (x * factors)).Should().BeLessThan(1e-6);
        Reference.MaxRelativeError(mask.Apply(x.to(ScalarType.Float64)), x.to(ScalarType.Float64) * factors.to(ScalarType.Float64)).Should().BeLessThan(1e-6);
    }

    [Fact]
    public void Apply_Input_IsDifferentiable()
    {
        using var scope = NewDisposeScope();
        manual_seed(45);
        Tensor x = randn(37, 53).requires_grad_(true);
        Tensor y = InputDropout.Apply(x, .3);
        y.sum().backward();

        Reference.MaxRelativeError(y, x.detach() * x.grad!).Should().BeLessThan(1e-7);
    }
}
