namespace DoraSharp;

/// <summary>The tensors of an adapter as PEFT stores them, by the kind of the layer.</summary>
internal static class AdapterShapes
{
    /// <summary>The tensors for a layer.</summary>
    public static Dictionary<string, long[]> Of(ModuleDescription module, LoraOptions options) => module.Kind switch
    {
        LayerKind.Embedding => Embedding(module, options),
        LayerKind.Conv1d or LayerKind.Conv2d or LayerKind.Conv3d => Convolution(module, options),
        LayerKind.MultiheadAttention => Matrix(module.In, 3 * module.In, options),
        _ => Matrix(module.In, module.Out, options),
    };

    /// <summary>The tensors for a matrix [out, in].</summary>
    public static Dictionary<string, long[]> Matrix(long input, long output, LoraOptions options) =>
        Named([options.Rank, input], [output, options.Rank], output, [output], options);

    /// <summary>The tensors for a parameter: a matrix [out, in], or experts that share out and in.</summary>
    public static Dictionary<string, long[]> Parameter(IReadOnlyList<long> shape, bool transposedExperts, LoraOptions options)
    {
        (long experts, long output, long input) = shape.Count == 2
            ? (1, shape[0], shape[1])
            : transposedExperts ? (shape[0], shape[2], shape[1]) : (shape[0], shape[1], shape[2]);
        long rank = options.Rank * experts;
        return Named([rank, input], [output, rank], output, [output], options);
    }

    private static Dictionary<string, long[]> Embedding(ModuleDescription module, LoraOptions options)
    {
        Dictionary<string, long[]> tensors = new()
        {
            ["lora_embedding_A"] = [options.Rank, module.In],
            ["lora_embedding_B"] = [module.Out, options.Rank],
        };
        return WithMagnitude(tensors, [module.Out], options);
    }

    private static Dictionary<string, long[]> Convolution(ModuleDescription module, LoraOptions options)
    {
        long[] ones = [.. module.Kernel.Select(static _ => 1L)];
        (long input, long groups) = options.GroupedUpdate == GroupedUpdate.Peft ? (module.In, module.Groups) : (module.In / module.Groups, 1);
        return Named([options.Rank, input, .. module.Kernel], [module.Out, options.Rank / groups, .. ones], module.Out, [1, module.Out, .. ones], options);
    }

    private static Dictionary<string, long[]> Named(long[] a, long[] b, long output, long[] magnitude, LoraOptions options)
    {
        Dictionary<string, long[]> tensors = new() { ["lora_A.weight"] = a, ["lora_B.weight"] = b };
        if (options.LoraBias)
        {
            tensors["lora_B.bias"] = [output];
        }

        return WithMagnitude(tensors, magnitude, options);
    }

    private static Dictionary<string, long[]> WithMagnitude(Dictionary<string, long[]> tensors, long[] magnitude, LoraOptions options)
    {
        if (options.UseDora)
        {
            tensors["lora_magnitude_vector"] = magnitude;
        }

        return tensors;
    }
}
