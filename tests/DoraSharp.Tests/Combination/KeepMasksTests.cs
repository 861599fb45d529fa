using static TorchSharp.torch;

namespace DoraSharp.Tests.Combination;

public class KeepMasksTests
{
    [Fact]
    public void Next_ManyElements_KeepsTheShareAndDrawsAnew()
    {
        using var scope = NewDisposeScope();
        using KeepMasks masks = new(0.3, seed: 4);
        Tensor first = masks.Next([400, 500]);
        Tensor second = masks.Next([400, 500]);

        (first.eq(0) | first.eq(1)).all().item<bool>().Should().BeTrue();

        // Five standard deviations of the mean of 200,000 draws, and of their product's.
        first.mean().item<double>().Should().BeApproximately(0.3, 5 * Math.Sqrt(0.3 * 0.7 / 200_000));
        (first * second).mean().item<double>().Should().BeApproximately(0.09, 5 * Math.Sqrt(0.09 * 0.91 / 200_000));
    }

    [Fact]
    public void Next_NoSeed_FollowsTheGlobalGenerator()
    {
        using var scope = NewDisposeScope();
        using KeepMasks masks = new(0.5, seed: null);
        manual_seed(12);
        Tensor first = masks.Next([7, 9]);
        manual_seed(12);
        Tensor again = masks.Next([7, 9]);

        Reference.SameBits(first, again).Should().BeTrue();
        Reference.SameBits(again, masks.Next([7, 9])).Should().BeFalse();
    }
}
