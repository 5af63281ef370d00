namespace FineTuneCore.Models;

/// <summary>How positions turn into rotation angles; the fields are those of <c>rope_scaling</c>.</summary>
internal sealed record RopeConfig
{
    /// <summary>default, linear, dynamic, llama3 or yarn.</summary>
    internal required string Type { get; init; }

    internal required double Theta { get; init; }

    internal double Factor { get; init; } = 1;

    internal double LowFreqFactor { get; init; } = 1;

    internal double HighFreqFactor { get; init; } = 4;

    internal int OriginalMaxPositionEmbeddings { get; init; }

    internal double? AttentionFactor { get; init; }

    internal double BetaFast { get; init; } = 32;

    internal double BetaSlow { get; init; } = 1;

    internal double? Mscale { get; init; }

    internal double? MscaleAllDim { get; init; }

    internal bool Truncate { get; init; } = true;

    /// <summary>Part of head_dim that is turned.</summary>
    internal double PartialRotaryFactor { get; init; } = 1;

    internal static RopeConfig Read(ConfigReader config, double defaultTheta, int maxPositionEmbeddings)
    {
        // Newer files keep everything under rope_parameters, older ones theta beside rope_scaling.
        ConfigReader? scaling = config.Object("rope_parameters") ?? config.Object("rope_scaling");
        double theta = scaling is not null && scaling.Has("rope_theta") ? scaling.Double("rope_theta") : config.Double("rope_theta", defaultTheta);
        double partial = scaling is not null && scaling.Has("partial_rotary_factor")
            ? scaling.Double("partial_rotary_factor") : config.Double("partial_rotary_factor", 1);
        if (theta <= 1) throw (scaling?.Has("rope_theta") == true ? scaling : config).Wrong("rope_theta", "a number above 1");
        if (partial is <= 0 or > 1)
            throw (scaling?.Has("partial_rotary_factor") == true ? scaling : config).Wrong("partial_rotary_factor", "a number above 0, up to 1");
        string type = scaling?.Text("rope_type") ?? scaling?.Text("type") ?? "default";
        if (type is not ("default" or "linear" or "dynamic" or "ntk" or "llama3" or "yarn"))
        {
            throw FineTuneException.Failed(
                $"{config.Path}: rope_scaling type '{type}' is not supported; supported are default, linear, dynamic (NTK), llama3 and yarn.");
        }

        if (scaling is null || type == "default") return new RopeConfig { Type = "default", Theta = theta, PartialRotaryFactor = partial };
        int original = scaling.Has("original_max_position_embeddings")
            ? scaling.Int("original_max_position_embeddings")
            : config.Int("original_max_position_embeddings", maxPositionEmbeddings);
        // YaRN may leave the factor to the two contexts.
        double factor = type == "yarn" && !scaling.Has("factor") ? Math.Max(1, maxPositionEmbeddings / (double)original) : scaling.Double("factor");
        if (factor is < 1 or > 1e5) throw scaling.Wrong("factor", "a number from 1 to 100000");
        foreach (string key in (string[])["low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "attention_factor"])
            if (scaling.Has(key) && scaling.Double(key) <= 0) throw scaling.Wrong(key, "a number above 0");
        return new RopeConfig
        {
            Type = type,
            Theta = theta,
            PartialRotaryFactor = partial,
            Factor = factor,
            LowFreqFactor = scaling.Double("low_freq_factor", 1),
            HighFreqFactor = scaling.Double("high_freq_factor", 4),
            OriginalMaxPositionEmbeddings = original,
            AttentionFactor = scaling.Has("attention_factor") ? scaling.Double("attention_factor") : null,
            BetaFast = scaling.Double("beta_fast", 32),
            BetaSlow = scaling.Double("beta_slow", 1),
            Mscale = scaling.Has("mscale") ? scaling.Double("mscale") : null,
            MscaleAllDim = scaling.Has("mscale_all_dim") ? scaling.Double("mscale_all_dim") : null,
            Truncate = scaling.Bool("truncate", true),
        };
    }
}
