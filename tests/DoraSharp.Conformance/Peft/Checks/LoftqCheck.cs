using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>LoftQ: the quantized base, the update beside it, and how near the two come to the weight.</summary>
internal static class LoftqCheck
{
    private const string Name = AdapterDescription.DefaultName;

    public static bool AppliesTo(PeftCase subject) => subject.File.Loftq is not null;

    public static void Run(PeftCase subject)
    {
        LoftqDescription settings = subject.File.Loftq!;
        ModuleDescription module = subject.File.Model.Modules.Single(candidate => subject.Io.Has($"init.{candidate.Path}.base_layer.weight"));
        using CaseModel model = subject.NewModel();
        subject.Expect.Close("y.base", subject.Run(model), subject.Io.Read("y.base"));
        using AdaptedModel adapted = PeftApi.Inject(
            model,
            new LoraOptions
            {
                Rank = settings.R,
                Alpha = settings.LoraAlpha,
                Initialization = LoraInitialization.Loftq,
                Loftq = new() { Bits = settings.Bits, Iterations = settings.Iterations },
                TargetModules = [module.Path],
            },
            Name);
        model.eval();

        string prefix = $"init.{module.Path}.";
        InitialFactors factors = InitialFactors.Of(adapted, Name, module)!;
        Tensor original = subject.BaseValues.First(value => value.Key == $"{module.Path}.weight").Value.to(ScalarType.Float64);
        double error = (original - factors.Frozen - factors.Update).norm().item<double>();
        double expected = subject.File.Figure("error_with_product_unscaled")!.Value;
        subject.Expect.Require(Math.Abs(error - expected) <= 1e-3 * expected, "error", $"the quantized weight and the update are {error:0.00000} from the weight, expected {expected:0.00000}");
        subject.Expect.Close($"{prefix}base_layer.weight", factors.Frozen, subject.Io.Read($"{prefix}base_layer.weight"));
        subject.Expect.Close($"{prefix}product_unscaled", factors.Product, subject.Io.Read($"{prefix}product_unscaled"));

        // The library's factors have the scaling divided out of them.
        Tensor unscaled = subject.Io.Read($"{prefix}lora_B.weight").matmul(subject.Io.Read($"{prefix}lora_A.weight"));
        subject.Expect.Close($"{prefix}lora_B.weight lora_A.weight", factors.Product, unscaled);
        subject.Expect.Close("y", subject.Run(model), subject.Io.Read("y"));
    }
}
