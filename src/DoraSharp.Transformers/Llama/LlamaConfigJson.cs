using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>Reads and writes a Llama's <c>config.json</c>; refuses by name whatever this implementation would compute wrongly.</summary>
internal static class LlamaConfigJson
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static LlamaConfig Read(JsonFields fields)
    {
        RefuseUnsupported(fields);
        int heads = fields.PositiveInteger("num_attention_heads");
        int hidden = fields.PositiveInteger("hidden_size");
        if (!fields.Has("head_dim") && hidden % heads != 0)
        {
            throw new InvalidDataException($"{fields.Source}: hidden_size {hidden} is not a multiple of num_attention_heads {heads}, and there is no head_dim.");
        }

        (double theta, RopeScaling? scaling) = RopeScalingJson.Read(fields);
        var config = new LlamaConfig
        {
            VocabSize = fields.PositiveInteger("vocab_size"),
            HiddenSize = hidden,
            IntermediateSize = fields.PositiveInteger("intermediate_size"),
            LayerCount = fields.PositiveInteger("num_hidden_layers"),
            HeadCount = heads,
            KeyValueHeadCount = fields.OptionalPositiveInteger("num_key_value_heads") ?? heads,
            HeadDimension = fields.OptionalPositiveInteger("head_dim") ?? hidden / heads,
            MaxPositions = fields.OptionalPositiveInteger("max_position_embeddings") ?? 2048,
            RopeTheta = theta,
            RopeScaling = scaling,
            RmsNormEpsilon = fields.OptionalPositiveNumber("rms_norm_eps") ?? 1e-6,
            TieWordEmbeddings = fields.Flag("tie_word_embeddings", otherwise: false),
            AttentionBias = fields.Flag("attention_bias", otherwise: false),
            MlpBias = fields.Flag("mlp_bias", otherwise: false),
            // transformers' defaults where the file does not mention them; null says that there is none.
            BosTokenId = fields.Mentions("bos_token_id") ? TokenIds(fields, "bos_token_id") switch { [long id] => id, _ => null } : 1,
            EosTokenIds = fields.Mentions("eos_token_id") ? TokenIds(fields, "eos_token_id") : [2],
        };

        try
        {
            config.Validate();
        }
        catch (ArgumentException exception)
        {
            throw new InvalidDataException($"{fields.Source}: {exception.Message}", exception);
        }

        return config;
    }

    /// <summary>The text for a configuration.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="dtype">The dtype of the stored weights.</param>
    /// <param name="quantization">The <c>quantization_config</c> of a quantized model.</param>
    public static string Write(LlamaConfig config, ScalarType? dtype, JsonObject? quantization = null)
    {
        // The field names of transformers 4, which transformers 5 reads too.
        var json = new JsonObject
        {
            ["architectures"] = new JsonArray("LlamaForCausalLM"),
            ["model_type"] = "llama",
            ["vocab_size"] = config.VocabSize,
            ["hidden_size"] = config.HiddenSize,
            ["intermediate_size"] = config.IntermediateSize,
            ["num_hidden_layers"] = config.LayerCount,
            ["num_attention_heads"] = config.HeadCount,
            ["num_key_value_heads"] = config.KeyValueHeadCount,
            ["head_dim"] = config.HeadDimension,
            ["hidden_act"] = "silu",
            ["max_position_embeddings"] = config.MaxPositions,
            ["rope_theta"] = config.RopeTheta,
            ["rope_scaling"] = RopeScalingJson.Write(config.RopeScaling),
            ["rms_norm_eps"] = config.RmsNormEpsilon,
            ["tie_word_embeddings"] = config.TieWordEmbeddings,
            ["attention_bias"] = config.AttentionBias,
            ["mlp_bias"] = config.MlpBias,
            ["bos_token_id"] = config.BosTokenId,
            ["eos_token_id"] = config.EosTokenIds.Count switch
            {
                0 => null,
                1 => config.EosTokenIds[0],
                _ => new JsonArray([.. config.EosTokenIds.Select(id => JsonValue.Create(id))]),
            },
        };
        if (dtype is { } stored)
        {
            json["torch_dtype"] = stored.ToString().ToLowerInvariant();
        }

        if (quantization is not null)
        {
            json["quantization_config"] = quantization;
        }

        return json.ToJsonString(Indented) + "\n";
    }

    private static void RefuseUnsupported(JsonFields fields)
    {
        string type = fields.Text("model_type");
        Require(type is "llama" or "mistral", fields, $"model_type is '{type}'; supported are 'llama', and 'mistral' without a sliding window");
        string activation = fields.OptionalText("hidden_act") ?? "silu";
        Require(activation is "silu" or "swish", fields, $"hidden_act is '{activation}'; supported is 'silu'");
        Require(!fields.Has("sliding_window"), fields, $"sliding_window is {(fields.Find("sliding_window") is { } value ? JsonFields.Shown(value) : "")}; supported is a model without it");
        _ = BitsandbytesConfig.Read(fields);
        double dropout = fields.OptionalNumber("attention_dropout") ?? 0;
        Require(dropout == 0, fields, $"attention_dropout is {dropout}; supported is 0");
        double rotated = fields.OptionalNumber("partial_rotary_factor") ?? 1;
        Require(rotated == 1, fields, $"partial_rotary_factor is {rotated}; supported is 1");
        if (fields.Has("layer_types"))
        {
            Require(
                fields.Array("layer_types").All(layer => layer is { ValueKind: JsonValueKind.String } && layer.GetString() == "full_attention"),
                fields,
                $"layer_types is {JsonFields.Shown(fields.Required("layer_types"))}; supported is 'full_attention' in every layer");
        }
    }

    private static void Require(bool supported, JsonFields fields, string message)
    {
        if (!supported)
        {
            throw new NotSupportedException($"{fields.Source}: {message}.");
        }
    }

    private static long[] TokenIds(JsonFields fields, string name)
    {
        if (fields.Find(name) is not { } value)
        {
            return [];
        }

        JsonElement[] ids = value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : [value];
        return Array.ConvertAll(ids, id => id.ValueKind == JsonValueKind.Number && id.TryGetInt64(out long number) && number >= 0
            ? number
            : throw fields.Wrong(name, value, "a token id or a list of them"));
    }
}
