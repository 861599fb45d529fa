namespace DoraSharp.Tests.Adapters;

public class LoraOptionsTests
{
    [Theory]
    [InlineData(8, 16, false, 2.0)]
    [InlineData(16, 8, false, 0.5)]
    [InlineData(16, 8, true, 2.0)]
    public void Scaling_RankAndAlpha_FollowsTheDefinition(int rank, double alpha, bool rankStabilised, double expected) =>
        new LoraOptions { Rank = rank, Alpha = alpha, UseRsLora = rankStabilised }.Scaling.Should().Be(expected);

    [Fact]
    public void Properties_OutOfRange_ThrowWithTheirName()
    {
        Naming(() => new LoraOptions { Rank = 0 }, "Rank");
        Naming(() => new LoraOptions { Alpha = double.NaN }, "Alpha");
        Naming(() => new LoraOptions { Dropout = 1 }, "Dropout");
        Naming(() => new LoraOptions { Dropout = -0.1 }, "Dropout");
        Naming(() => new LoraOptions { DropoutPlacement = (DropoutPlacement)7 }, "DropoutPlacement");
        Naming(() => new LoraOptions { Initialization = null! }, "Initialization");
        Naming(() => new LoraOptions { RankPattern = [new("q_proj", 0)] }, "RankPattern");
        Naming(() => new LoraOptions { AlphaPattern = [new("", 1)] }, "AlphaPattern");
        Naming(() => new LoraOptions { ExcludeModules = TargetModules.AllLinear }, "ExcludeModules");
    }

    private static void Naming(Func<LoraOptions> make, string name) =>
        make.Should().Throw<ArgumentException>().Which.ParamName.Should().Be(name);
}
