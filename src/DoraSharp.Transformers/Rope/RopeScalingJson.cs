using System.Text.Json.Nodes;

namespace DoraSharp.Transformers;

/// <summary>Reads rope fields in the layouts of transformers 4 and 5; writes that of transformers 4.</summary>
internal static class RopeScalingJson
{
    /// <summary>θ and the scaling of a model's configuration.</summary>
    public static (double Theta, RopeScaling? Scaling) Read(JsonFields config)
    {
        JsonFields? rope = config.OptionalObject("rope_parameters") ?? config.OptionalObject("rope_scaling");
        double theta = rope?.OptionalPositiveNumber("rope_theta") ?? config.OptionalPositiveNumber("rope_theta") ?? 10_000;
        return (theta, rope is null ? null : Scaling(rope, config));
    }

    public static JsonObject? Write(RopeScaling? scaling) => scaling switch
    {
        null => null,
        LinearRopeScaling linear => new() { ["rope_type"] = "linear", ["factor"] = linear.Factor },
        DynamicRopeScaling dynamic => new() { ["rope_type"] = "dynamic", ["factor"] = dynamic.Factor },
        Llama3RopeScaling llama3 => WithoutNulls(new()
        {
            ["rope_type"] = "llama3",
            ["factor"] = llama3.Factor,
            ["low_freq_factor"] = llama3.LowFrequencyFactor,
            ["high_freq_factor"] = llama3.HighFrequencyFactor,
            ["original_max_position_embeddings"] = llama3.OriginalMaxPositions,
        }),
        YarnRopeScaling yarn => WithoutNulls(new()
        {
            ["rope_type"] = "yarn",
            ["factor"] = yarn.Factor,
            ["original_max_position_embeddings"] = yarn.OriginalMaxPositions,
            ["beta_fast"] = yarn.BetaFast,
            ["beta_slow"] = yarn.BetaSlow,
            ["attention_factor"] = yarn.AttentionFactor,
            ["mscale"] = yarn.MScale,
            ["mscale_all_dim"] = yarn.MScaleAllDimensions,
            ["truncate"] = yarn.Truncate,
        }),
        _ => throw new NotSupportedException($"No rope type is known for {scaling.GetType().Name}."),
    };

    private static RopeScaling? Scaling(JsonFields rope, JsonFields config)
    {
        string type = rope.OptionalText("rope_type") ?? rope.OptionalText("type") ?? "default";
        string[] known = type switch
        {
            "default" => [],
            "linear" or "dynamic" => ["factor"],
            "llama3" => ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
            "yarn" => ["factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim", "truncate"],
            _ => throw new NotSupportedException($"{rope.Source}: rope type is '{type}'; supported are default, linear, dynamic, llama3 and yarn."),
        };
        if (rope.Names.Except(known).Except(["rope_type", "type", "rope_theta"]).FirstOrDefault(rope.Has) is { } unknown)
        {
            throw new NotSupportedException($"{rope.Source}: '{unknown}' is not supported with rope type '{type}'.");
        }

        int? original = rope.OptionalPositiveInteger("original_max_position_embeddings") ?? config.OptionalPositiveInteger("original_max_position_embeddings");
        return type switch
        {
            "linear" => new LinearRopeScaling { Factor = rope.PositiveNumber("factor") },
            "dynamic" => new DynamicRopeScaling { Factor = rope.PositiveNumber("factor") },
            "llama3" => new Llama3RopeScaling
            {
                Factor = rope.PositiveNumber("factor"),
                LowFrequencyFactor = rope.PositiveNumber("low_freq_factor"),
                HighFrequencyFactor = rope.PositiveNumber("high_freq_factor"),
                OriginalMaxPositions = original,
            },
            "yarn" => new YarnRopeScaling
            {
                Factor = rope.PositiveNumber("factor"),
                OriginalMaxPositions = original,
                BetaFast = rope.OptionalPositiveNumber("beta_fast") ?? 32,
                BetaSlow = rope.OptionalPositiveNumber("beta_slow") ?? 1,
                AttentionFactor = rope.OptionalPositiveNumber("attention_factor"),
                MScale = rope.OptionalNumber("mscale"),
                MScaleAllDimensions = rope.OptionalNumber("mscale_all_dim"),
                Truncate = rope.Flag("truncate", otherwise: true),
            },
            _ => null,
        };
    }

    private static JsonObject WithoutNulls(JsonObject json)
    {
        foreach (string name in json.Where(field => field.Value is null).Select(field => field.Key).ToArray())
        {
            json.Remove(name);
        }

        return json;
    }
}
