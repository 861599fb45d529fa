using DoraSharp.Tests.Golden;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Adapters.Initialization;

public class OrthogonalInitializerTests
{
    [Fact]
    public void Create_EvenRank_HasFactorsThatCancelAndSizesOfPefts()
    {
        using var scope = NewDisposeScope();
        InitialFactors factors = OrthogonalInitializer.Create(311, 173, 8, ScalarType.Float64, generator: new Generator(5));
        factors.Residual.Should().BeNull();
        factors.A.shape.Should().Equal(8, 173);
        factors.B.shape.Should().Equal(311, 8);
        factors.B.matmul(factors.A).abs().max().item<double>().Should().BeLessThan(1e-15);

        // Of r columns an orthogonal matrix's half rows keep half the variance: 0.1/√2.
        factors.A.std().item<double>().Should().BeApproximately(0.0707, 0.006);
        factors.B.std().item<double>().Should().BeApproximately(0.0707, 0.006);
        linalg.svdvals(factors.A)[3].item<double>().Should().BeGreaterThan(0.5, "half of the rank is used by each factor");
    }

    [Fact]
    public void Create_InFloat32_LeavesPeftsOutputUnchanged()
    {
        using var scope = NewDisposeScope();
        using PeftCase golden = new("init_orthogonal");
        (int rank, double scaling) = golden.Adapter;
        Tensor weight = golden.Read("base.safetensors", "lin.weight");
        InitialFactors factors = OrthogonalInitializer.Create(weight.shape[0], weight.shape[1], rank, ScalarType.Float32, generator: new Generator(5));

        Tensor output = nn.functional.linear(golden.Io("x"), weight + (scaling * factors.B.matmul(factors.A)), golden.Read("base.safetensors", "lin.bias"));
        golden.Compare(output, golden.Io("y.base"), "y");
        factors.A.abs().max().item<float>().Should().BeGreaterThan(0.01f);
        factors.B.abs().max().item<float>().Should().BeGreaterThan(0.01f);
    }

    [Fact]
    public void Create_OddRank_IsRefused()
    {
        Action create = () => OrthogonalInitializer.Create(8, 8, 3, ScalarType.Float32);
        create.Should().Throw<ArgumentException>().WithMessage("*even*3*");
    }
}
