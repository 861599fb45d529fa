using DoraSharp.Tests.Golden;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Adapters.Initialization;

public class LoraInitializerTests
{
    [Theory]
    [InlineData("True", "lin")]
    [InlineData("True", "emb")]
    [InlineData("True", "conv")]
    [InlineData("gaussian", "lin")]
    [InlineData("gaussian", "emb")]
    [InlineData("gaussian", "conv")]
    [InlineData("False", "lin")]
    [InlineData("False", "emb")]
    [InlineData("False", "conv")]
    public void Initialize_PlainKinds_HavePeftsStatistics(string kind, string layer)
    {
        using var scope = NewDisposeScope();
        using PeftCase golden = new("init_statistics");
        LoraInitialization initialization = kind switch
        {
            "True" => LoraInitialization.Kaiming,
            "gaussian" => LoraInitialization.Gaussian,
            _ => LoraInitialization.Random,
        };

        // The embedding's matrix is [d, V]; the convolution's is [out, in·3·3].
        (long inputs, long outputs) = layer switch { "conv" => (12L * 9, 20L), _ => (400L, 300L) };
        using DenseWeight weight = new(nn.Linear(inputs, outputs));
        manual_seed(12);
        InitialFactors factors = LoraInitializer.Initialize(
            new LoraOptions { Rank = 16, Initialization = initialization }, weight, GeometryOf(layer), ScalarType.Float32);

        factors.Residual.Should().BeNull();
        Compare(factors.A, layer == "emb" ? "emb.lora_embedding_A" : $"{layer}.lora_A.weight");
        Compare(factors.B, layer == "emb" ? "emb.lora_embedding_B" : $"{layer}.lora_B.weight");

        void Compare(Tensor factor, string key)
        {
            var measured = golden.Description.GetProperty("measured").GetProperty($"{kind}/{key}");
            double std = measured.GetProperty("std").GetDouble();
            factor.numel().Should().Be(measured.GetProperty("n").GetInt64());
            factor.mean().item<float>().Should().BeApproximately(0, (float)(4 * std / Math.Sqrt(factor.numel())));
            factor.std().item<float>().Should().BeApproximately((float)std, (float)(0.06 * std));

            // The largest element tells a uniform distribution, at most √3 deviations wide, from a normal one.
            float largest = factor.abs().max().item<float>();
            bool isUniform = Math.Max(measured.GetProperty("max").GetDouble(), -measured.GetProperty("min").GetDouble()) < 1.9 * std;
            if (isUniform)
            {
                largest.Should().BeInRange((float)(1.6 * std), (float)(1.85 * std));
            }
            else if (std > 0)
            {
                largest.Should().BeGreaterThan((float)(2.5 * std));
            }
        }
    }

    [Fact]
    public void Initialize_RandomConvolutionWithGroups_BoundsBByItsFanIn()
    {
        using var scope = NewDisposeScope();
        using AdapterStack stack = LayerKinds.StackFor(nn.Conv2d(24, 400, 3, groups: 4), new LoraOptions());
        manual_seed(13);
        InitialFactors factors = LoraInitializer.Initialize(
            new LoraOptions { Rank = 16, Initialization = LoraInitialization.Random }, stack.Weight, stack.Geometry, ScalarType.Float32);

        factors.B.abs().max().item<float>().Should().BeInRange(0.49f, 0.5f);
    }

    public static TheoryData<LoraInitialization, bool> Kinds => new()
    {
        { LoraInitialization.Orthogonal, false },
        { LoraInitialization.Pissa, true },
        { LoraInitialization.PissaFast(3), true },
        { LoraInitialization.Olora, true },
        { LoraInitialization.Eva, false },
        { LoraInitialization.Corda, true },
        { LoraInitialization.Loftq, true },
        { LoraInitialization.LoraGa, true },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Initialize_EveryKind_KeepsTheWeightAndReachesItsOptions(LoraInitialization kind, bool changesBase)
    {
        using var scope = NewDisposeScope();
        manual_seed(14);
        Linear layer = nn.Linear(64, 48);
        using DenseWeight weight = new(layer);
        Tensor before = layer.weight!.detach().clone();
        LoraOptions options = new() { Rank = 4, Alpha = 12, Initialization = kind };
        Tensor? data = kind == LoraInitialization.LoraGa ? randn(48, 64) : kind == LoraInitialization.Eva || kind == LoraInitialization.Corda ? Spread() : null;
        InitialFactors factors = LoraInitializer.Initialize(options, weight, GeometryOf("linear"), ScalarType.Float32, data);

        factors.A.shape.Should().Equal(4, 64);
        factors.B.shape.Should().Equal(48, 4);
        (factors.Residual is not null).Should().Be(changesBase);
        Tensor sum = (factors.Residual ?? before) + (options.Scaling * factors.B.matmul(factors.A));
        Reference.RelativeError(sum, before).Should().BeLessThan(kind == LoraInitialization.Loftq ? 0.1 : 1e-6);
        Reference.SameBits(layer.weight!, before).Should().BeTrue("the owner of the weight changes it, not the initialization");
        (factors.A.requires_grad || factors.B.requires_grad).Should().BeFalse();
    }

    [Fact]
    public void Initialize_SettingsOfAMethod_AreHeeded()
    {
        using var scope = NewDisposeScope();
        manual_seed(15);
        using DenseWeight weight = new(nn.Linear(64, 48));
        Tensor spread = Spread();
        Tensor gradient = randn(48, 64);
        Different(LoraInitialization.Corda, spread, options => options with { Corda = new() { Method = CordaMethod.KnowledgePreserved } });
        Different(LoraInitialization.Eva, spread, options => options with { Eva = new() { Whiten = true } });
        Different(LoraInitialization.Loftq, null, options => options with { Loftq = new() { Iterations = 3 } });
        Different(LoraInitialization.LoraGa, gradient, options => options with { LoraGa = new() { Direction = LoraGaDirection.A2rBr } });

        void Different(LoraInitialization kind, Tensor? data, Func<LoraOptions, LoraOptions> change)
        {
            LoraOptions options = new() { Rank = 4, Alpha = 12, Initialization = kind };
            Tensor usual = LoraInitializer.Initialize(options, weight, GeometryOf("linear"), ScalarType.Float32, data).A;
            Tensor changed = LoraInitializer.Initialize(change(options), weight, GeometryOf("linear"), ScalarType.Float32, data).A;
            Reference.RelativeError(changed, usual).Should().BeGreaterThan(0.01, kind.ToString());
        }
    }

    [Fact]
    public void Initialize_WithoutTheDataItNeeds_NamesTheWayOut()
    {
        using DenseWeight weight = new(nn.Linear(64, 48));
        foreach (LoraInitialization kind in (LoraInitialization[])[LoraInitialization.Eva, LoraInitialization.Corda, LoraInitialization.LoraGa])
        {
            Action initialize = () => LoraInitializer.Initialize(new LoraOptions { Initialization = kind }, weight, GeometryOf("linear"), ScalarType.Float32);
            initialize.Should().Throw<InvalidOperationException>().WithMessage($"*{kind}*{nameof(DataCollector)}*");
        }
    }

    private static Tensor Spread()
    {
        Tensor x = randn(300, 64, dtype: ScalarType.Float64) * linspace(0.5, 2, 64, dtype: ScalarType.Float64);
        return x.t().matmul(x);
    }

    private static Geometry GeometryOf(string layer) => layer == "emb" ? new EmbeddingGeometry(nn.Embedding(7, 3)) : new LinearGeometry(LayerKind.Linear, 1);
}
