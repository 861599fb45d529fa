namespace DoraSharp.Transformers;

/// <summary>The parameters of a Llama as its configuration implies them, before any memory is taken.</summary>
internal static class LlamaParameters
{
    public const string Embedding = "model.embed_tokens.weight";
    public const string Head = "lm_head.weight";

    /// <summary>Names and shapes, lazily: a hostile configuration may claim billions of layers.</summary>
    public static IEnumerable<(string Name, long[] Shape)> Of(LlamaConfig config)
    {
        long hidden = config.HiddenSize, inner = config.IntermediateSize;
        long queries = (long)config.HeadCount * config.HeadDimension, keys = (long)config.KeyValueHeadCount * config.HeadDimension;
        yield return (Embedding, [config.VocabSize, hidden]);
        for (int layer = 0; layer < config.LayerCount; layer++)
        {
            string prefix = $"model.layers.{layer}.";
            (string Name, long Out, long In, bool Bias)[] linears =
            [
                ("self_attn.q_proj", queries, hidden, config.AttentionBias),
                ("self_attn.k_proj", keys, hidden, config.AttentionBias),
                ("self_attn.v_proj", keys, hidden, config.AttentionBias),
                ("self_attn.o_proj", hidden, queries, config.AttentionBias),
                ("mlp.gate_proj", inner, hidden, config.MlpBias),
                ("mlp.up_proj", inner, hidden, config.MlpBias),
                ("mlp.down_proj", hidden, inner, config.MlpBias),
            ];
            foreach ((string name, long outputs, long inputs, bool bias) in linears)
            {
                yield return ($"{prefix}{name}.weight", [outputs, inputs]);
                if (bias)
                {
                    yield return ($"{prefix}{name}.bias", [outputs]);
                }
            }

            yield return ($"{prefix}input_layernorm.weight", [hidden]);
            yield return ($"{prefix}post_attention_layernorm.weight", [hidden]);
        }

        yield return ("model.norm.weight", [hidden]);
        if (!config.TieWordEmbeddings)
        {
            yield return (Head, [config.VocabSize, hidden]);
        }
    }
}
