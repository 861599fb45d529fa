namespace DoraSharp.Tests.Numerics.Kernels;

public class LibTorchTeamTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 2)]
    [InlineData(7, 3)]
    [InlineData(3, 8)]
    public void Run_AnyNumberOfThreads_DoesEachPieceOnce(int count, int threads)
    {
        Assert.SkipUnless(LibTorchTeam.Exists, "This libtorch is not built with GNU OpenMP.");
        int[] times = new int[count];
        LibTorchTeam.Run(count, threads, index => Interlocked.Increment(ref times[index]));

        times.Should().AllBeEquivalentTo(1);
    }

    [Fact]
    public void Run_WorkThatThrows_ThrowsItAndWorksAfterwards()
    {
        Assert.SkipUnless(LibTorchTeam.Exists, "This libtorch is not built with GNU OpenMP.");
        Action run = () => LibTorchTeam.Run(2, 2, index => throw new InvalidOperationException($"piece {index}"));
        run.Should().Throw<InvalidOperationException>().WithMessage("piece *");

        int sum = 0;
        LibTorchTeam.Run(10, 2, index => Interlocked.Add(ref sum, index));
        sum.Should().Be(45);
    }
}
