using static TorchSharp.torch;

namespace DoraSharp.Tests.Adapters.Initialization;

/// <summary>The initialisations that decompose a weight, against their definitions in float64.</summary>
public class DecompositionTests
{
    private const double Scaling = 1.7320508075688772;

    /// <summary>The methods that change the base, each on the same weight, [57, 83].</summary>
    private static readonly Dictionary<string, Func<Tensor, double, ScalarType, InitialFactors>> Methods = new()
    {
        ["pissa"] = (w, s, dtype) => PissaInitializer.Exact(w, 6, s, dtype),
        ["pissa_niter_2"] = (w, s, dtype) => PissaInitializer.Fast(w, 6, s, 2, dtype, new Generator(3)),
        ["olora"] = (w, s, dtype) => OloraInitializer.Create(w, 6, s, dtype),
        ["corda_ipm"] = (w, s, dtype) => CordaInitializer.Create(w, Covariance(), 6, s, CordaMethod.InstructionPreviewed, dtype),
        ["corda_kpm"] = (w, s, dtype) => CordaInitializer.Create(w, Covariance(), 6, s, CordaMethod.KnowledgePreserved, dtype),
        ["lora_ga"] = (w, s, dtype) => LoraGaInitializer.Create(w, Random(57, 83, 5), 6, s, new(), dtype),
        ["lora_ga_random"] = (w, s, dtype) =>
            LoraGaInitializer.Create(w, Random(57, 83, 5), 6, s, new() { Direction = LoraGaDirection.Random, Scale = LoraGaScale.WeightSvd }, dtype, new Generator(3)),
    };

    public static TheoryData<string> MethodNames => [.. Methods.Keys];

    [Theory]
    [MemberData(nameof(MethodNames))]
    public void Create_AnyScaling_BaseAndAdapterTogetherAreTheWeight(string method)
    {
        foreach (double scaling in (double[])[Scaling, 0.25, -2])
        {
            using var scope = NewDisposeScope();
            Tensor weight = Random(57, 83, 1);
            InitialFactors exact = Methods[method](weight, scaling, ScalarType.Float64);
            Reference.RelativeError(exact.Residual! + (scaling * exact.B.matmul(exact.A)), weight).Should().BeLessThan(1e-14);

            Tensor single = weight.to(ScalarType.Float32);
            InitialFactors factors = Methods[method](single, scaling, ScalarType.Float32);
            factors.A.shape.Should().Equal(6, 83);
            factors.B.shape.Should().Equal(57, 6);
            factors.A.dtype.Should().Be(ScalarType.Float32);
            Reference.RelativeError(factors.B.matmul(factors.A), exact.B.matmul(exact.A)).Should().BeLessThan(1e-5);

            // From the rounded factors only the residual's own rounding is left.
            Tensor sum = factors.Residual!.to(ScalarType.Float64) + (scaling * factors.B.to(ScalarType.Float64).matmul(factors.A.to(ScalarType.Float64)));
            ((sum - single.to(ScalarType.Float64)).abs() / factors.Residual!.abs().to(ScalarType.Float64)).max().item<double>().Should().BeLessThan(6e-8);
        }
    }

    [Theory]
    [MemberData(nameof(MethodNames))]
    public void Create_BFloat16Weight_RoundsTheResidualOnceToItsType(string method)
    {
        using var scope = NewDisposeScope();
        Tensor weight = Random(57, 83, 1).to(ScalarType.BFloat16);
        InitialFactors factors = Methods[method](weight, Scaling, ScalarType.Float32);

        Tensor expected = weight.to(ScalarType.Float64) - (Scaling * factors.B.to(ScalarType.Float64).matmul(factors.A.to(ScalarType.Float64)));
        Reference.SameBits(factors.Residual!, expected.to(ScalarType.BFloat16)).Should().BeTrue();
        factors.A.dtype.Should().Be(ScalarType.Float32);
    }

    [Theory]
    [MemberData(nameof(MethodNames))]
    public void Create_ManyTimes_LeavesNothingButItsResult(string method)
    {
        using Tensor weight = Random(57, 83, 1);
        Methods[method](weight, Scaling, ScalarType.Float32).Dispose();
        GC.Collect();
        long before = LiveTensors.Count;
        using (var scope = NewDisposeScope())
        {
            Methods[method](weight, Scaling, ScalarType.Float32).MoveToOuterDisposeScope().Dispose();
        }

        LiveTensors.Count.Should().Be(before);
    }

    [Fact]
    public void Exact_WeightOfTheRank_LeavesNothingInTheBase()
    {
        using var scope = NewDisposeScope();
        Tensor weight = Random(57, 4, 2).matmul(Random(4, 83, 3));
        InitialFactors factors = PissaInitializer.Exact(weight, 4, Scaling, ScalarType.Float64);

        factors.Residual!.norm().item<double>().Should().BeLessThan(1e-12 * weight.norm().item<double>());

        // The singular values are shared evenly.
        Reference.RelativeError(factors.A.matmul(factors.A.t()), factors.B.t().matmul(factors.B)).Should().BeLessThan(1e-12);
    }

    [Theory]
    [InlineData(0.0)]
    [InlineData(0.5)]
    [InlineData(2.0)]
    public void Fast_AnySpectrum_IsWithinFivePercentOfTheBest(double decay)
    {
        for (int seed = 0; seed < 5; seed++)
        {
            using var scope = NewDisposeScope();
            Generator generator = new((ulong)seed);
            Tensor spectrum = arange(1, 151, dtype: ScalarType.Float64).pow(-decay);
            Tensor weight = decay == 0
                ? randn(190, 150, dtype: ScalarType.Float64, generator: generator)
                : (linalg.qr(randn(190, 150, dtype: ScalarType.Float64, generator: generator)).Q * spectrum).matmul(linalg.qr(randn(150, 150, dtype: ScalarType.Float64, generator: generator)).Q);
            Tensor singular = linalg.svdvals(weight);
            double best = singular.narrow(0, 8, 142).norm().item<double>();

            foreach (int iterations in (int[])[1, 4])
            {
                InitialFactors factors = PissaInitializer.Fast(weight, 8, Scaling, iterations, ScalarType.Float64, generator);
                double error = (weight - (Scaling * factors.B.matmul(factors.A))).norm().item<double>();
                error.Should().BeInRange(best * (1 - 1e-9), best * 1.05);
            }
        }
    }

    [Fact]
    public void Olora_Factors_AreThoseOfTheQrDecomposition()
    {
        using var scope = NewDisposeScope();
        Tensor weight = Random(57, 83, 1);
        InitialFactors factors = OloraInitializer.Create(weight, 6, Scaling, ScalarType.Float64);

        Reference.RelativeError(factors.B.t().matmul(factors.B), eye(6, dtype: ScalarType.Float64)).Should().BeLessThan(1e-12);
        factors.A.tril(-1).norm().item<double>().Should().Be(0);

        // The first r columns of W are in the span of B, so that B·A, undivided, gives them.
        Reference.RelativeError(factors.B.matmul(factors.A).narrow(1, 0, 6), weight.narrow(1, 0, 6)).Should().BeLessThan(1e-12);
    }

    [Fact]
    public void Corda_AllTriples_GiveTheWholeWeight()
    {
        using var scope = NewDisposeScope();
        Tensor weight = Random(57, 83, 1);
        InitialFactors first = CordaInitializer.Create(weight, Covariance(), 50, Scaling, CordaMethod.InstructionPreviewed, ScalarType.Float64);
        InitialFactors last = CordaInitializer.Create(weight, Covariance(), 7, Scaling, CordaMethod.KnowledgePreserved, ScalarType.Float64);

        Reference.RelativeError(Scaling * (first.B.matmul(first.A) + last.B.matmul(last.A)), weight).Should().BeLessThan(1e-10);
    }

    [Theory]
    [InlineData(LoraGaDirection.ArB2r, 0, 6, 1, 6, 1)]
    [InlineData(LoraGaDirection.A2rBr, 6, 6, 1, 0, 1)]
    [InlineData(LoraGaDirection.ArBr, 1, 6, 2, 0, 2)]
    public void LoraGa_Direction_TakesItsVectors(LoraGaDirection direction, int firstOfA, int count, int stepOfA, int firstOfB, int stepOfB)
    {
        using var scope = NewDisposeScope();
        Tensor weight = Random(57, 83, 1);
        Tensor gradient = Random(57, 83, 5);
        InitialFactors factors = LoraGaInitializer.Create(
            weight, gradient, count, Scaling, new() { Direction = direction, Scale = LoraGaScale.Unit }, ScalarType.Float64);

        (Tensor u, Tensor s, Tensor vt) = linalg.svd(gradient, fullMatrices: false);
        for (int k = 0; k < count; k++)
        {
            int ofA = firstOfA + (k * stepOfA);
            int ofB = firstOfB + (k * stepOfB);
            Math.Abs(factors.A[k].dot(vt[ofA]).item<double>()).Should().BeApproximately(1, 1e-10);
            Tensor column = factors.B.select(1, k);
            Math.Abs(column.dot(u.select(1, ofB)).item<double>()).Should().BeApproximately(s[ofB].item<double>(), 1e-10);
            column.norm().item<double>().Should().BeApproximately(s[ofB].item<double>(), 1e-10);
        }
    }

    [Fact]
    public void LoraGa_WeightSvdScale_GivesTheFirstColumnTheWeightsNorm()
    {
        using var scope = NewDisposeScope();
        Tensor weight = Random(57, 83, 1);
        InitialFactors factors = LoraGaInitializer.Create(weight, Random(57, 83, 5), 6, Scaling, new() { Scale = LoraGaScale.WeightSvd }, ScalarType.Float64);

        factors.B.select(1, 0).norm().item<double>().Should().BeApproximately(linalg.svdvals(weight)[0].item<double>(), 1e-10);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    public void Loftq_AnyScaling_NeverDoesWorseThanQuantizationAlone(int iterations)
    {
        using var scope = NewDisposeScope();
        Tensor weight = Random(57, 83, 1).to(ScalarType.Float32);
        double alone = (weight - Quantized(weight)).norm().item<float>();
        double? first = null;
        foreach (double scaling in (double[])[0.25, 1, 8])
        {
            InitialFactors factors = LoftqInitializer.Create(weight, 6, scaling, iterations, ScalarType.Float32);
            double error = (weight - factors.Residual! - (scaling * factors.B.matmul(factors.A))).norm().item<float>();
            error.Should().BeLessThan(0.95 * alone).And.BeApproximately(first ?? error, 1e-5);
            first = error;
            Reference.SameBits(Quantized(factors.Residual!), factors.Residual!).Should().BeTrue("the base holds levels of NF4");
        }
    }

    [Fact]
    public void Create_BadInput_IsRefusedWithTheReason()
    {
        using var scope = NewDisposeScope();
        Tensor weight = Random(57, 83, 1);
        Refusing<ArgumentException>(() => PissaInitializer.Exact(weight, 58, 1, ScalarType.Float32), "*58*57*RankPattern*");
        Refusing<ArgumentException>(() => LoraGaInitializer.Create(weight, weight, 29, 1, new(), ScalarType.Float32), "*58*57*RankPattern*");
        Refusing<ArgumentException>(() => PissaInitializer.Exact(weight, 4, 0, ScalarType.Float32), "*alpha*not 0*");
        Refusing<ArgumentException>(() => LoraGaInitializer.Create(weight, weight.t(), 4, 1, new(), ScalarType.Float32), "*gradient*[83, 57]*");
        Refusing<ArgumentException>(() => LoraGaInitializer.Create(weight, zeros_like(weight), 4, 1, new(), ScalarType.Float32), "*gradient is zero*");
        Refusing<ArgumentException>(() => CordaInitializer.Create(weight, eye(57), 4, 1, default, ScalarType.Float32), "*[83, 83]*[57, 57]*");
        Refusing<ArgumentException>(() => CordaInitializer.Create(weight, zeros(83, 83), 4, 1, default, ScalarType.Float32), "*zeros*");
        weight[3, 4] = double.NaN;
        Refusing<ArgumentException>(() => PissaInitializer.Exact(weight, 4, 1, ScalarType.Float32), "*NaN*");
        Refusing<ArgumentException>(() => OloraInitializer.Create(weight, 4, 1, ScalarType.Float32), "*NaN*");
        Refusing<ArgumentException>(() => LoftqInitializer.Create(weight, 4, 1, 1, ScalarType.Float32), "*NaN*");
    }

    private static void Refusing<T>(Func<InitialFactors> create, string message)
        where T : Exception => create.Should().Throw<T>().WithMessage(message);

    private static Tensor Quantized(Tensor weight)
    {
        using QuantizedTensor quantized = QuantizedTensor.Quantize(weight, new() { DoubleQuantization = false });
        return quantized.Dequantize();
    }

    private static Tensor Random(long rows, long columns, int seed) =>
        randn(rows, columns, dtype: ScalarType.Float64, generator: new Generator((ulong)seed));

    private static Tensor Covariance()
    {
        Tensor x = Random(400, 83, 9) * linspace(0.2, 2, 83, dtype: ScalarType.Float64);
        return x.t().matmul(x) / 400;
    }
}
