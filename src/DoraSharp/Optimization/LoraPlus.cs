using TorchSharp.Modules;

namespace DoraSharp;

/// <summary>LoRA+ (arXiv 2402.12354): B learns faster than A. PEFT: <c>create_loraplus_optimizer</c>.</summary>
public static class LoraPlus
{
    /// <summary>
    /// Sorts what trains into groups for <c>torch.optim.AdamW</c>: PEFT's, in PEFT's order, without the empty ones.
    /// </summary>
    /// <param name="model">The adapted model; its trained parameters are taken as they are now.</param>
    /// <param name="options">The rates.</param>
    /// <returns>
    /// The groups: A and all else at η; A and B of embeddings; B and all one-dimensional parameters at λ·η; those of
    /// them that are biases or normalisation weights, without decay; and with <see cref="LoraPlusOptions.SeparateMagnitudes"/>
    /// the magnitudes at η without decay. Their other settings are left to the optimizer.
    /// </returns>
    /// <exception cref="InvalidOperationException">Nothing trains.</exception>
    /// <exception cref="ObjectDisposedException">The adapters were taken out of the model.</exception>
    public static IReadOnlyList<AdamW.ParamGroup> Groups(AdaptedModel model, LoraPlusOptions options)
    {
        ArgumentNullException.ThrowIfNull(model);
        return Groups(TrainedParameters.Of(model), options);
    }

    /// <summary>The same for parameters by name, in their order; those that do not require gradients are left out.</summary>
    internal static IReadOnlyList<AdamW.ParamGroup> Groups(IEnumerable<NamedParameter> parameters, LoraPlusOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        Dictionary<Kind, List<Parameter>> groups = [];
        foreach (NamedParameter named in parameters.Where(named => named.Parameter.requires_grad))
        {
            Kind kind = KindOf(named, options);
            if (!groups.TryGetValue(kind, out List<Parameter>? group))
            {
                groups.Add(kind, group = []);
            }

            group.Add(named.Parameter);
        }

        return groups.Count > 0
            ? [.. groups.OrderBy(group => group.Key).Select(group => Group(group.Key, group.Value, options))]
            : throw new InvalidOperationException("Nothing trains: no parameter of the model's adapters requires a gradient.");
    }

    /// <summary>PEFT's rule, by name and number of dimensions.</summary>
    private static Kind KindOf(NamedParameter named, LoraPlusOptions options)
    {
        if (options.SeparateMagnitudes && named.IsMagnitude)
        {
            return Kind.Magnitude;
        }

        if (named.IsFactorOfEmbedding)
        {
            return Kind.Embedding;
        }

        if (!named.Name.Contains("lora_B", StringComparison.Ordinal) && named.FileRank != 1)
        {
            return Kind.Slow;
        }

        return named.IsNormalisation || named.Name.Contains("bias", StringComparison.Ordinal) ? Kind.FastWithoutDecay : Kind.Fast;
    }

    private static AdamW.ParamGroup Group(Kind kind, List<Parameter> parameters, LoraPlusOptions options)
    {
        double rate = kind switch
        {
            Kind.Embedding => options.EmbeddingLearningRate,
            Kind.Fast or Kind.FastWithoutDecay => options.LearningRate * options.Ratio,
            _ => options.LearningRate,
        };
        return new(parameters, new AdamW.Options
        {
            LearningRate = rate,
            weight_decay = kind is Kind.FastWithoutDecay or Kind.Magnitude ? 0 : options.WeightDecay,
        });
    }

    /// <summary>The groups, in PEFT's order.</summary>
    private enum Kind
    {
        Slow,
        Embedding,
        Fast,
        FastWithoutDecay,
        Magnitude,
    }
}
