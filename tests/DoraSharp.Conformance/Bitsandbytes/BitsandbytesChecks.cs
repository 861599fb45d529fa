namespace DoraSharp.Conformance;

/// <summary>Runs the check of a case's kind, and makes sure that nothing of the case stays unread.</summary>
internal static class BitsandbytesChecks
{
    /// <summary>What the reference gives where it errs.</summary>
    private const string Bug = "bnb_bug_";

    private static readonly Dictionary<string, Action<BitsandbytesCase>> Checks = new(StringComparer.Ordinal)
    {
        ["maps"] = MapsCheck.Run,
        ["quantize4bit"] = FourBitCheck.Run,
        ["double_quant"] = DoubleQuantizationCheck.Run,
        ["blockwise8"] = Blockwise8Check.Run,
        ["int8"] = Int8Check.Run,
        ["linear4bit"] = Linear4bitCheck.Run,
        ["llama4bit"] = QuantizedLlamaCheck.Run,
        ["qlora"] = QuantizedAdapterCheck.Run,
        ["qdora"] = QuantizedAdapterCheck.Run,
        ["loftq"] = BitsandbytesLoftqCheck.Run,
        ["model_error"] = ModelErrorCheck.Run,
        ["adamw8bit"] = AdamW8BitCheck.Run,
    };

    /// <summary>Runs a case.</summary>
    public static void Run(BitsandbytesCase subject)
    {
        if (!Checks.TryGetValue(subject.Kind, out Action<BitsandbytesCase>? run))
        {
            throw new NotSupportedException($"{subject.Name}: the suite has no check for the kind '{subject.Kind}'.");
        }

        run(subject);
        string[] unread = [.. subject.Unused.Where(static name => !name.Contains(Bug, StringComparison.Ordinal))];
        subject.Expect.Require(unread.Length == 0, "tensors", $"the suite did not look at {string.Join(", ", unread)}");
    }
}
