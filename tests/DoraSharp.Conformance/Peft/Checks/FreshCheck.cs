using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Adapters as they are right after injection: the output of the base, bit for bit, and the magnitudes of the case.</summary>
internal static class FreshCheck
{
    private const string Prefix = "init.";
    private const string ExactPrefix = "exact.init.";

    public static bool AppliesTo(PeftCase subject) => subject.File.Kind is "forward" or "edge" or "layout" && subject.File.Adapters.Count > 0;

    public static void Run(PeftCase subject)
    {
        foreach (AdapterDescription adapter in subject.File.Adapters)
        {
            AdapterOptions options = subject.Options(adapter);
            bool isRandom = options is LoraOptions { } lora && lora.Initialization == LoraInitialization.Random;
            using CaseModel model = subject.NewModel();
            Tensor y0 = subject.Run(model);
            AdaptedModel adapted = isRandom ? Decompose(subject, model, adapter, (LoraOptions)options) : PeftApi.Inject(model, options, adapter.Name);
            using (adapted)
            {
                model.eval();
                if (!isRandom)
                {
                    subject.Expect.Same($"y with the fresh adapter {adapter.Name}", subject.Run(model), y0);
                }

                CheckMagnitudes(subject, adapted, adapter.Name);
            }
        }
    }

    /// <summary>Random factors are in the folder: the magnitude that a DoRA adapter gets for them.</summary>
    private static AdaptedModel Decompose(PeftCase subject, CaseModel model, AdapterDescription adapter, LoraOptions options)
    {
        AdaptedModel adapted = PeftApi.Inject(model, options with { UseDora = false }, adapter.Name);
        using PeftFolder file = PeftFolder.Read(subject.Parent(adapter), adapter.Name);
        IReadOnlyDictionary<string, Tensor> parameters = PeftApi.Parameters(adapted, adapter.Name);
        foreach (PeftTensor tensor in file.Tensors.Where(tensor => parameters.ContainsKey(tensor.Name)))
        {
            PeftApi.Set(adapted, adapter.Name, tensor.Name, tensor.Value);
        }

        if (options.UseDora)
        {
            PeftApi.ConvertToDora(adapted, adapter.Name);
        }

        return adapted;
    }

    private static void CheckMagnitudes(PeftCase subject, AdaptedModel adapted, string name)
    {
        foreach ((string key, Tensor parameter) in PeftApi.Parameters(adapted, name))
        {
            string place = subject.Io.Has($"{Prefix}{key}@{name}") ? $"{key}@{name}" : key;
            if (subject.Io.TryRead(Prefix + place, out Tensor? expected))
            {
                subject.Expect.Close(Prefix + place, parameter.reshape(expected.shape), expected);
            }

            if (subject.Io.TryRead(ExactPrefix + place, out Tensor? exact))
            {
                // What the adapter's own dtype can hold of the exact value.
                subject.Expect.Close(ExactPrefix + place, parameter.reshape(exact.shape), exact, new(8 * Rounding.HalfUnit(parameter.dtype)));
            }
        }
    }
}
