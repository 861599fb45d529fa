using static TorchSharp.torch;

namespace DoraSharp.Tests.Numerics.Kernels;

public class LowRankKernelTests
{
    /// <summary>Tokens, in, out, rank: sizes that panels divide and others, blocks and tiles that are not full, one row, many ranks.</summary>
    public static TheoryData<int, int, int, int> Sizes { get; } = new()
    {
        { 1, 16, 32, 16 },
        { 1, 2064, 1040, 21 },
        { 2, 1040, 2064, 8 },
        { 2, 48, 336, 3 },
        { 3, 528, 272, 16 },
        { 5, 2064, 112, 8 },
        { 67, 272, 1040, 3 },
        { 133, 208, 96, 33 },
        { 600, 48, 64, 80 },
        { 71, 33, 55, 16 },
    };

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Kernels_AnySize_GiveTheProductsOfFloat64(int tokens, int inputs, int outputs, int rank)
    {
        using var scope = NewDisposeScope();
        using Problem problem = new(tokens, inputs, outputs, rank);
        foreach (CountedMask? mask in (CountedMask?[])[null, new(7, .3)])
        {
            Tensor factors = mask is null ? ones_like(problem.X) : mask.Factors(problem.X);
            Tensor dropped = Exact(problem.X * factors);

            Tensor y = problem.Y.clone();
            Tensor h = LowRankForward.Run(problem.X, y, problem.A, problem.B, .7, problem.Gains, mask);
            Tensor expectedH = .7 * dropped.matmul(Exact(problem.A).t());
            Close(h, expectedH);
            Close(y, (Exact(problem.Gains.Gain) * (Exact(problem.Y) + expectedH.matmul(Exact(problem.B).t()))) + Exact(problem.Gains.Offset!));

            Tensor dX = problem.X.clone();
            Tensor? dA = InputSide.Run(problem.X, problem.DH, problem.A, dX, wantsA: true, mask);
            Tensor dH = Exact(problem.DH).sum(dim: 0);
            Close(dA!, dH.t().matmul(dropped));
            Close(dX, Exact(problem.X) + (dH.matmul(Exact(problem.A)) * Exact(factors)));
        }

        OutputGradients output = OutputSide.Run(problem.DY, problem.B, .7, problem.H, problem.Gains.Gain, problem.Y, problem.Gains.Bias, wantsDh: true);
        Tensor scaled = Exact(problem.DY) * Exact(problem.Gains.Gain);
        Close(output.Scaled!, scaled);
        Close(output.Sums!, (Exact(problem.DY) * (Exact(problem.Y) - Exact(problem.Gains.Bias!))).sum(dim: 0));
        Close(output.B!, scaled.t().matmul(Exact(problem.H)));
        Close(output.PartsOfH!.sum(dim: 0), .7 * scaled.matmul(Exact(problem.B)));
    }

    [Theory]
    [InlineData(40)]
    [InlineData(2)]
    public void Kernels_NotEverythingWanted_GiveTheRest(int tokens)
    {
        using var scope = NewDisposeScope();
        using Problem problem = new(tokens, 64, 96, 16);
        OutputGradients lora = OutputSide.Run(problem.DY, problem.B, 1, h: null, gain: null, y: null, centre: null, wantsDh: true);
        lora.Scaled.Should().BeNull();
        lora.Sums.Should().BeNull();
        lora.B.Should().BeNull();
        Close(lora.PartsOfH!.sum(dim: 0), Exact(problem.DY).matmul(Exact(problem.B)));

        OutputGradients frozen = OutputSide.Run(problem.DY, problem.B, 1, problem.H, problem.Gains.Gain, y: null, centre: null, wantsDh: false);
        frozen.PartsOfH.Should().BeNull();
        frozen.Sums.Should().BeNull();
        Close(frozen.Scaled!, Exact(problem.DY) * Exact(problem.Gains.Gain));

        InputSide.Run(problem.X, problem.DH, problem.A, dX: null, wantsA: true, mask: null).Should().NotBeNull();
        Tensor dX = zeros_like(problem.X);
        InputSide.Run(problem.X, problem.DH, problem.A, dX, wantsA: false, mask: null).Should().BeNull();
        Close(dX, Exact(problem.DH).sum(dim: 0).matmul(Exact(problem.A)));
    }

    [Fact]
    public void Kernels_Repeated_GiveTheSameBits()
    {
        using var scope = NewDisposeScope();
        using Problem problem = new(300, 512, 640, 16);
        Tensor[] first = Run();
        foreach ((Tensor once, Tensor again) in first.Zip(Run()))
        {
            Reference.SameBits(once, again).Should().BeTrue();
        }

        Tensor[] Run()
        {
            Tensor y = problem.Y.clone();
            OutputGradients output = OutputSide.Run(problem.DY, problem.B, 1, problem.H, problem.Gains.Gain, problem.Y, centre: null, wantsDh: true);
            Tensor dX = problem.X.clone();
            Tensor? dA = InputSide.Run(problem.X, output.PartsOfH!, problem.A, dX, wantsA: true, new CountedMask(3, .1));
            return [LowRankForward.Run(problem.X, y, problem.A, problem.B, 1, problem.Gains, new CountedMask(3, .1)), y, output.B!, output.Sums!, dX, dA!];
        }
    }

    [Fact]
    public void Kernels_ValuesThatAreNotFinite_StayInTheirRows()
    {
        using var scope = NewDisposeScope();
        using Problem problem = new(14, 64, 96, 8);
        problem.X[3, 5] = float.NaN;
        problem.X[7, 9] = float.PositiveInfinity;
        Tensor y = problem.Y.clone();
        Tensor h = LowRankForward.Run(problem.X, y, problem.A, problem.B, 1, gains: null, mask: null);
        Tensor finite = y.isfinite().all(dim: 1);

        h[3].isnan().all().item<bool>().Should().BeTrue();
        for (int row = 0; row < 14; row++)
        {
            finite[row].item<bool>().Should().Be(row is not (3 or 7));
        }
    }

    private static Tensor Exact(Tensor tensor) => tensor.to(ScalarType.Float64);

    private static void Close(Tensor actual, Tensor expected) => Reference.RelativeError(actual, expected).Should().BeLessThan(1e-6);

    private sealed class Problem : IDisposable
    {
        public Problem(int tokens, int inputs, int outputs, int rank)
        {
            manual_seed(57);
            X = randn(tokens, inputs);
            Y = randn(tokens, outputs);
            DY = randn(tokens, outputs);
            A = randn(rank, inputs);
            B = randn(outputs, rank);
            H = randn(tokens, rank);
            DH = randn(3, tokens, rank);
            Gains = RowGains.Of(rand(outputs) + .5, rand(outputs) + .5, randn(outputs));
        }

        public Tensor X { get; }

        public Tensor Y { get; }

        public Tensor DY { get; }

        public Tensor A { get; }

        public Tensor B { get; }

        public Tensor H { get; }

        public Tensor DH { get; }

        public RowGains Gains { get; }

        public void Dispose() => Gains.Dispose();
    }
}
