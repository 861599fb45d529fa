using System.Text.Json;
using DoraSharp.Tests.Golden;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Adapters.Initialization;

/// <summary>The initialisations that decompose a weight, against what PEFT made of the same weights.</summary>
public class DecompositionGoldenTests
{
    [Theory]
    [InlineData("init_pissa")]
    [InlineData("init_pissa_dora")]
    [InlineData("init_pissa_hfconv1d")]
    [InlineData("init_olora")]
    [InlineData("init_corda_ipm")]
    [InlineData("init_corda_kpm")]
    public void Create_PeftsWeight_GivesPeftsProductAndBase(string name)
    {
        using var scope = NewDisposeScope();
        using PeftCase golden = new(name);
        (int rank, double scaling) = golden.Adapter;
        bool isTransposed = name.EndsWith("hfconv1d", StringComparison.Ordinal);
        Tensor stored = golden.Read("base.safetensors", "lin.weight");
        Tensor weight = isTransposed ? stored.t() : stored;
        InitialFactors factors = name switch
        {
            "init_olora" => OloraInitializer.Create(weight, rank, scaling, ScalarType.Float32),
            "init_corda_ipm" => CordaInitializer.Create(weight, Covariance(golden), rank, scaling, CordaMethod.InstructionPreviewed, ScalarType.Float32),
            "init_corda_kpm" => CordaInitializer.Create(weight, Covariance(golden), rank, scaling, CordaMethod.KnowledgePreserved, ScalarType.Float32),
            _ => PissaInitializer.Exact(weight, rank, scaling, ScalarType.Float32),
        };

        golden.Compare(scaling * factors.B.matmul(factors.A), golden.Io("init.lin.product"), "s·B·A");
        golden.Compare(isTransposed ? factors.Residual!.t() : factors.Residual!, golden.Io("init.lin.base_layer.weight"), "base");
        Tensor output = nn.functional.linear(golden.Io("x"), factors.Residual! + (scaling * factors.B.matmul(factors.A)), golden.Read("base.safetensors", "lin.bias"));
        golden.Compare(output, golden.Io("y.base"), "y");

        // PEFT's factors are these up to the sign of each pair.
        golden.Compare(factors.A.abs(), golden.Io("init.lin.lora_A.weight").abs(), "|A|");
        golden.Compare(factors.B.abs(), golden.Io("init.lin.lora_B.weight").abs(), "|B|");
    }

    [Fact]
    public void Fast_PeftsWeight_IsWithinFivePercentOfTheBest()
    {
        using var scope = NewDisposeScope();
        using PeftCase golden = new("init_pissa_niter_4");
        (int rank, double scaling) = golden.Adapter;
        Tensor weight = golden.Read("base.safetensors", "lin.weight");
        InitialFactors factors = PissaInitializer.Fast(weight, rank, scaling, 4, ScalarType.Float32, new Generator(3));

        Tensor product = scaling * factors.B.matmul(factors.A);
        double best = golden.Description.GetProperty("figures").GetProperty("error_of_exact_best").GetDouble();
        (weight - product).norm().item<float>().Should().BeLessThanOrEqualTo((float)(1.05 * best));
        golden.Compare(product + factors.Residual!, weight, "base + s·B·A");
    }

    [Theory]
    [InlineData("init_lora_ga_arb2r", LoraGaDirection.ArB2r, LoraGaScale.Stable)]
    [InlineData("init_lora_ga_arbr_gd_scale", LoraGaDirection.ArBr, LoraGaScale.GradientDescent)]
    public void LoraGa_PeftsGradient_GivesPeftsFactorsUpToSigns(string name, LoraGaDirection direction, LoraGaScale scale)
    {
        using var scope = NewDisposeScope();
        using PeftCase golden = new(name);
        (int rank, double scaling) = golden.Adapter;
        Tensor weight = golden.Read("base.safetensors", "lin.weight");
        InitialFactors factors = LoraGaInitializer.Create(
            weight, golden.Io("calibration.weight_grad"), rank, scaling, new LoraGaOptions { Direction = direction, Scale = scale }, ScalarType.Float32);

        Tensor a = golden.Io("init.lin.lora_A.weight");
        Tensor b = golden.Io("init.lin.lora_B.weight");
        golden.Compare(factors.A * (factors.A * a).sum(dim: 1, keepdim: true).sign(), a, "A");
        golden.Compare(factors.B * (factors.B * b).sum(dim: 0, keepdim: true).sign(), b, "B");
        golden.Compare(factors.Residual! + (scaling * factors.B.matmul(factors.A)), weight, "base + s·B·A");
    }

    [Fact]
    public void Loftq_PeftsWeight_GivesItsCodesAndItsErrorWithTheScalingDividedOut()
    {
        using var scope = NewDisposeScope();
        using PeftCase golden = new("init_loftq");
        var settings = golden.Description.GetProperty("loftq");
        double scaling = settings.GetProperty("scaling").GetDouble();
        Tensor weight = golden.Io("W");
        InitialFactors factors = LoftqInitializer.Create(
            weight, settings.GetProperty("r").GetInt32(), scaling, settings.GetProperty("iterations").GetInt32(), ScalarType.Float32);

        Reference.SameBits(factors.Residual!, golden.Io("init.lin.base_layer.weight")).Should().BeTrue();
        Tensor product = scaling * factors.B.matmul(factors.A);
        golden.Compare(product, golden.Io("init.lin.product_unscaled"), "s·B·A");
        double error = (weight - factors.Residual! - product).norm().item<float>();
        error.Should().BeApproximately(golden.Description.GetProperty("figures").GetProperty("error_with_product_unscaled").GetDouble(), 1e-5);
        golden.Compare(nn.functional.linear(golden.Io("x"), factors.Residual! + product, golden.Read("base.safetensors", "lin.bias")), golden.Io("y"), "y");
    }

    [Fact]
    public void Loftq_BitsandbytesCase_GivesItsBaseProductAndErrors()
    {
        string folder = SharedFolder.Require("fixtures", "bnb", "loftq-nf4");
        using JsonDocument description = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "case.json")));
        using SafetensorsReader tensors = SafetensorsReader.Open(Path.Combine(folder, "tensors.safetensors"));
        foreach (JsonElement entry in description.RootElement.GetProperty("entries").EnumerateArray())
        {
            using var scope = NewDisposeScope();
            string name = entry.GetProperty("name").GetString()!;
            Tensor source = tensors.Read("source");
            InitialFactors factors = LoftqInitializer.Create(source, entry.GetProperty("r").GetInt32(), 1, entry.GetProperty("num_iter").GetInt32(), ScalarType.Float32);

            // bitsandbytes' decomposition is in float32: from the second iteration on a scale may differ in its last bit.
            double ofBase = Reference.RelativeError(factors.Residual!, tensors.Read($"{name}.base_dequant"));
            ofBase.Should().BeLessThanOrEqualTo(entry.GetProperty("num_iter").GetInt32() == 1 ? 0 : 1e-6, name);
            Tensor product = factors.B.matmul(factors.A);
            Reference.RelativeError(product, tensors.Read($"{name}.BA")).Should().BeLessThan(1e-5, name);
            double error = (source - factors.Residual! - product).norm().item<float>();
            error.Should().BeApproximately(entry.GetProperty("final_error").GetDouble(), 1e-4 * error, name);
        }
    }

    private static Tensor Covariance(PeftCase golden)
    {
        using ContextCovariance covariance = new();
        covariance.Add(golden.Io("calibration"), null);
        return covariance.Result()!;
    }
}
