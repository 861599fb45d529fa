using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Quantization;

public class LoftqOverQuantizedTests
{
    [Theory]
    [InlineData(1, false)]
    [InlineData(4, false)]
    [InlineData(4, true)]
    public void Inject_LoftqOverAQuantizedModel_MakesUpForWhatQuantizationLost(int iterations, bool dora)
    {
        using var scope = NewDisposeScope();
        manual_seed(31);
        using Sequential dense = nn.Sequential(("fc", nn.Linear(96, 64)), ("lm_head", nn.Linear(64, 3)));
        using Sequential model = nn.Sequential(("fc", nn.Linear(96, 64)), ("lm_head", nn.Linear(64, 3)));
        model.load_state_dict(dense.state_dict());
        model.Quantize();
        QuantizedLinear layer = (QuantizedLinear)model[0];
        Tensor w = ((Linear)dense[0]).weight.detach();
        Tensor codes = layer.Weight.Codes.clone();
        double lost = Reference.RelativeError(layer.Weight.Dequantize(), w);

        // A scaling of 4: PEFT would apply four times the correction.
        LoraOptions options = new() { Rank = 8, Alpha = 32, UseDora = dora, Initialization = LoraInitialization.Loftq, Loftq = new() { Iterations = iterations } };
        using (AdaptedModel adapted = AdapterInjector.Inject(model, options, new() { OriginalWeight = path => dense.get_parameter($"{path}.weight")! }))
        {
            double error = Reference.RelativeError(adapted.Layers[0].Value.EffectiveWeight(), w);
            error.Should().BeLessThan(0.93 * lost);
            (iterations == 1).Should().Be(Reference.SameBits(layer.Weight.Codes, codes));
            using InitialFactorsOf reference = new(w, options.Scaling, iterations);
            error.Should().BeApproximately(reference.Error, 1e-5);
            Reference.RelativeError(layer.Weight.Dequantize(), reference.Base).Should().BeLessThan(1e-6);

            // It trains and merges like any other.
            Tensor x = randn(5, 96), y = model.call(x);
            adapted.Merge();
            Reference.RelativeError(model.call(x), y).Should().BeLessThan(1e-5);
        }

        Reference.SameBits(layer.Weight.Codes, codes).Should().BeTrue();
    }

    [Fact]
    public void Inject_LoftqWithoutTheOriginalWeight_SaysHowToGiveIt()
    {
        using var scope = NewDisposeScope();
        using Sequential model = nn.Sequential(("fc", nn.Linear(32, 32)), ("lm_head", nn.Linear(32, 3)));
        model.Quantize();
        LoraOptions loftq = new() { Rank = 4, Initialization = LoraInitialization.Loftq };
        FluentActions.Invoking(() => AdapterInjector.Inject(model, loftq)).Should().Throw<InvalidOperationException>().WithMessage("*InjectionOptions.OriginalWeight*");
        FluentActions.Invoking(() => AdapterInjector.Inject(model, loftq, new() { OriginalWeight = _ => zeros(3, 3) })).Should().Throw<ArgumentException>().WithMessage("*[3, 3] for fc*[32, 32]*");
        FluentActions.Invoking(() => AdapterInjector.Inject(model, loftq with { Initialization = LoraInitialization.Pissa }))
            .Should().Throw<NotSupportedException>().WithMessage("*pissa*quantized*loftq*SavePlain*");
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new LoraOptions { TargetModules = ["lm_head"], ModulesToSave = ["fc"] }))
            .Should().Throw<ArgumentException>().WithMessage("*ModulesToSave 'fc'*quantized*Dequantize*");
        model.modules().Should().NotContain(module => module is AdapterStack);
    }

    /// <summary>LoftQ over the dense weight with the layer's own quantization.</summary>
    private sealed class InitialFactorsOf : IDisposable
    {
        private readonly InitialFactors factors;

        public InitialFactorsOf(Tensor w, double scaling, int iterations)
        {
            factors = LoftqInitializer.Create(w, 8, scaling, iterations, ScalarType.Float32, new QuantizationOptions());
            Error = Reference.RelativeError(Base + (scaling * factors.B.matmul(factors.A)), w);
        }

        public Tensor Base => factors.Residual!;

        public double Error { get; }

        public void Dispose() => factors.Dispose();
    }
}
