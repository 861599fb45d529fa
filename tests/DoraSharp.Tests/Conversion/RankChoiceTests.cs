namespace DoraSharp.Tests.Conversion;

public class RankChoiceTests
{
    private static readonly double[] Values = [3, 2, 1, 0.5, 0];

    [Theory]
    [InlineData(0.0, 4)]
    [InlineData(0.24, 4)]
    [InlineData(0.25, 3)]
    [InlineData(0.5, 3)]
    [InlineData(0.56, 2)]
    [InlineData(100.0, 1)]
    public void ForError_Tolerance_LeavesOutWhatItAllows(double tolerance, int rank) =>
        RankChoice.ForError(tolerance).Of(Values, norm: 2).Should().Be(rank);

    [Theory]
    [InlineData(1.0, 4)]
    [InlineData(0.9, 2)]
    [InlineData(0.1, 1)]
    public void ForEnergy_Fraction_KeepsIt(double fraction, int rank) => RankChoice.ForEnergy(fraction).Of(Values, norm: 2).Should().Be(rank);

    [Theory]
    [InlineData(2, 2)]
    [InlineData(9, 5)]
    public void Fixed_Rank_IsTakenAsFarAsItGoes(int asked, int rank) => RankChoice.Fixed(asked).Of(Values, norm: 2).Should().Be(rank);

    [Fact]
    public void Create_ValuesOutOfRange_AreRefused()
    {
        Refused(() => RankChoice.Fixed(0));
        Refused(() => RankChoice.ForEnergy(0));
        Refused(() => RankChoice.ForEnergy(1.01));
        Refused(() => RankChoice.ForError(-1e-9));
        Refused(() => RankChoice.ForError(double.NaN));

        static void Refused(Action create) => create.Should().Throw<ArgumentOutOfRangeException>();
    }
}
