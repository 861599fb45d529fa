using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Training without dropout: the output, and the gradients of the inputs and of all that trains.</summary>
internal static class GradientCheck
{
    private const string Prefix = "grad.";

    public static bool AppliesTo(PeftCase subject) =>
        subject.LoadsPlainly() && subject.Io.Has("dy") && subject.Io.Names.Any(static name => name.StartsWith(Prefix, StringComparison.Ordinal));

    public static void Run(PeftCase subject)
    {
        using CaseModel model = subject.NewModel();
        using AdaptedModel adapted = subject.Load(model);
        Train(subject, model, adapted, "");
    }

    /// <summary>One forward and backward pass, compared with the tensors whose names have a prefix.</summary>
    /// <param name="subject">The case.</param>
    /// <param name="model">The adapted model.</param>
    /// <param name="adapted">Its handle.</param>
    /// <param name="prefix">What the names of the case's tensors begin with.</param>
    /// <param name="other">The gradients that lie elsewhere than in an adapter's file, by their names.</param>
    public static void Train(PeftCase subject, CaseModel model, AdaptedModel adapted, string prefix, Func<string, Tensor?>? other = null)
    {
        model.train();
        Tensor[] inputs = subject.Inputs(gradients: true);
        Tensor y = model.call(inputs);
        if (subject.Io.TryRead(prefix + "y.train", out Tensor? train) || subject.Io.TryRead(prefix + "y", out train))
        {
            subject.Expect.Close(prefix + "y in training", y, train);
        }

        y.backward([subject.Io.Read("dy")]);
        foreach ((string key, Tensor expected) in Expected(subject, prefix + Prefix))
        {
            int input = subject.File.Model.Inputs.ToList().IndexOf(key);
            string[] parts = key.Split('@');
            Tensor? actual = input >= 0
                ? inputs[input].grad
                : other?.Invoke(key) ?? PeftApi.Gradient(adapted, parts.Length == 2 ? parts[1] : subject.AdapterName, parts[0], expected.shape);
            subject.Expect.Close(prefix + Prefix + key, actual, expected);
        }
    }

    // Where a head's factors are an embedding's, PEFT's files have the gradient of each use; one variable gathers their sum.
    private static IEnumerable<KeyValuePair<string, Tensor>> Expected(PeftCase subject, string prefix)
    {
        IReadOnlyList<KeyValuePair<string, Tensor>> all = [.. subject.Io.ReadAll(prefix)];
        if (!subject.File.Adapters.Any(static adapter => adapter.Config.TryGetValue("ensure_weight_tying", out JsonElement tied) && tied.ValueKind == JsonValueKind.True))
        {
            return all;
        }

        Tensor OfHead(string part) => all.Single(entry => entry.Key.EndsWith(part, StringComparison.Ordinal)).Value.t();
        return all.Select(entry =>
            entry.Key.EndsWith(".lora_embedding_A", StringComparison.Ordinal) ? KeyValuePair.Create(entry.Key, entry.Value + OfHead(".lora_B.weight"))
            : entry.Key.EndsWith(".lora_embedding_B", StringComparison.Ordinal) ? KeyValuePair.Create(entry.Key, entry.Value + OfHead(".lora_A.weight"))
            : entry).Where(static entry => !entry.Key.EndsWith(".lora_A.weight", StringComparison.Ordinal) && !entry.Key.EndsWith(".lora_B.weight", StringComparison.Ordinal));
    }
}
