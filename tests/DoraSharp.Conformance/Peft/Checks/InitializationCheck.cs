using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>
/// Initialisations that look at the base weight or at data: the changed base, the update that it makes up for, and the
/// output, which stays that of the base. Factors count as far as the method determines them.
/// </summary>
internal static class InitializationCheck
{
    public static bool AppliesTo(PeftCase subject) => subject.File.Kind == "init" && subject.File.Adapters.Count > 0;

    public static void Run(PeftCase subject)
    {
        AdapterDescription adapter = subject.File.Adapters[0];
        LoraOptions options = (LoraOptions)subject.Options(adapter);
        using CaseModel model = subject.NewModel();
        Tensor y0 = subject.Run(model);
        subject.Expect.Close("y.base", y0, subject.Io.Read("y.base"));
        IReadOnlyList<Func<Tensor>> batches = Batches(subject, model);
        using AdaptedModel adapted = batches.Count == 0 ? PeftApi.Inject(model, options, adapter.Name) : PeftApi.InjectFromData(model, options, adapter.Name, batches);
        model.eval();
        CheckRanks(subject, adapted, adapter.Name);
        foreach (ModuleDescription module in subject.File.Model.Modules)
        {
            if (InitialFactors.Of(adapted, adapter.Name, module) is { } factors)
            {
                CheckFactors(subject, options, module, factors);
            }
        }

        foreach ((string key, Tensor parameter) in PeftApi.Parameters(adapted, adapter.Name).Where(static p => p.Key.EndsWith("lora_magnitude_vector", StringComparison.Ordinal)))
        {
            subject.Expect.Close($"init.{key}", parameter, subject.Io.Read($"init.{key}"));
        }

        subject.Expect.Close("y", subject.Run(model), subject.Io.Read("y"));
    }

    private static void CheckFactors(PeftCase subject, LoraOptions options, ModuleDescription module, InitialFactors factors)
    {
        string prefix = $"init.{module.Path}.";
        Tensor original = subject.BaseValues.First(value => value.Key == $"{module.Path}.weight").Value;
        subject.Expect.Close($"{prefix}base_layer.weight + product", factors.Frozen + factors.Update, original.to(ScalarType.Float64));
        if (subject.Io.Has($"exact.{module.Path}.components"))
        {
            CheckComponents(subject, module.Path, factors.A);
        }

        _ = subject.Io.TryRead($"{prefix}lora_A.weight", out Tensor? a);
        _ = subject.Io.TryRead($"{prefix}lora_B.weight", out Tensor? b);
        if (!subject.Io.TryRead($"{prefix}product", out Tensor? product) || !subject.Io.TryRead($"{prefix}base_layer.weight", out Tensor? frozen))
        {
            return;
        }

        if (options.Initialization == LoraInitialization.Orthogonal)
        {
            // Random: what holds is that neither factor is zero and their product is.
            subject.Expect.Close($"{prefix}product", factors.Product, zeros_like(factors.Product), new(0, subject.File.Tolerance.Atol));
            subject.Expect.Require(factors.A.abs().max().item<double>() > 0 && factors.B.abs().max().item<double>() > 0, $"{prefix}lora_A.weight", "a factor is zero");
        }
        else if (options.Initialization.Iterations > 0)
        {
            // A randomised method: what holds is how near it comes to the best approximation.
            double error = (original.to(ScalarType.Float64) - factors.Update).norm().item<double>();
            double allowed = 1.05 * subject.File.Figure("error_of_exact_best")!.Value;
            subject.Expect.Require(error <= allowed, $"{prefix}product", $"its error is {error:0.0000}, allowed {allowed:0.0000}");
        }
        else if (options.Initialization == LoraInitialization.LoraGa)
        {
            // The signs of single vectors are free, and do change the product.
            subject.Expect.Close($"{prefix}lora_A.weight up to signs", factors.A.abs(), a!.abs());
            subject.Expect.Close($"{prefix}lora_B.weight up to signs", factors.B.abs(), b!.abs());
            CheckSigns(subject, $"{prefix}lora_A.weight", factors.A, a);
            CheckSigns(subject, $"{prefix}lora_B.weight", factors.B.t(), b.t());
        }
        else
        {
            subject.Expect.Close($"{prefix}product", factors.Product, product);
            subject.Expect.Close($"{prefix}base_layer.weight", factors.Frozen, frozen);
        }
    }

    /// <summary>Each row is the expected one or its opposite.</summary>
    private static void CheckSigns(PeftCase subject, string name, Tensor actual, Tensor expected)
    {
        Tensor cosines = nn.functional.cosine_similarity(actual.to(ScalarType.Float64), expected.to(ScalarType.Float64), dim: 1).abs();
        subject.Expect.Require(cosines.min().item<double>() > 1 - 1e-6, name, $"a vector has another direction (cosine {cosines.min().item<double>():0.000000})");
    }

    /// <summary>Principal components that an incremental method finds: as near to the exact ones as the reference's own.</summary>
    private static void CheckComponents(PeftCase subject, string path, Tensor a)
    {
        Tensor exact = subject.Io.Read($"exact.{path}.components").narrow(0, 0, a.shape[0]).to(ScalarType.Float64);
        _ = subject.Io.Read($"exact.{path}.explained_variance_ratio");
        double cosine = nn.functional.cosine_similarity(a, exact, dim: 1).abs().min().item<double>();
        double reference = subject.File.Figure($"min_abs_cosine_to_exact.{path}") ?? 1 - 1e-4;
        subject.Expect.Require(cosine >= reference, $"init.{path}.lora_A.weight", $"cosine to the exact component {cosine:0.000000}, PEFT's own {reference:0.000000}");
    }

    private static void CheckRanks(PeftCase subject, AdaptedModel adapted, string name)
    {
        if (subject.File.Result is not { } result || !result.TryGetProperty("layers", out JsonElement layers))
        {
            return;
        }

        foreach (JsonProperty layer in layers.EnumerateObject())
        {
            (int, double) expected = (layer.Value.GetProperty("r").GetInt32(), layer.Value.GetProperty("scaling").GetDouble());
            subject.Expect.Require(PeftApi.Setting(adapted, layer.Name, name) == expected, $"result {layer.Name}", $"rank and scaling are {PeftApi.Setting(adapted, layer.Name, name)}, expected {expected}");
        }
    }

    /// <summary>The calibration data as runs of the model: with a target, each returns the mean squared error.</summary>
    private static IReadOnlyList<Func<Tensor>> Batches(PeftCase subject, CaseModel model)
    {
        if (subject.Io.TryRead("calibration.x", out Tensor? x))
        {
            Tensor target = subject.Io.Read("calibration.target");
            return [() => (model.call([x]) - target).square().mean()];
        }

        return subject.Io.TryRead("calibration", out Tensor? batches)
            ? [.. Enumerable.Range(0, (int)batches.shape[0]).Select<int, Func<Tensor>>(i => () => model.call([batches.select(0, i)]))]
            : [];
    }
}
