using System.Text.Json;

namespace FineTuneCore.Tests.Models;

/// <summary>
/// Rotary frequencies in double. RoPE: Su et al. 2021, arXiv:2104.09864; linear interpolation: Chen et al. 2023, arXiv:2306.15595;
/// YaRN: Peng et al. 2023, arXiv:2309.00071; the llama3 ramp as published with Llama 3.1; dynamic NTK as transformers documents it.
/// </summary>
internal sealed record ReferenceRope(double[] InverseFrequencies, double AttentionFactor)
{
    /// <summary>Frequencies for a sequence of <paramref name="length"/> tokens; only dynamic ones depend on it.</summary>
    internal static ReferenceRope Create(ReferenceConfig config, int length)
    {
        int dim = config.HeadDim;
        double theta = config.RopeTheta;
        if (config.RopeScaling is not { } rope) return new(Plain(theta, dim), 1);
        string kind = (Get(rope, "rope_type") ?? Get(rope, "type"))?.GetString() ?? "default";
        switch (kind)
        {
            case "default":
                return new(Plain(theta, dim), 1);
            case "linear":
                return new([.. Plain(theta, dim).Select(f => f / Number(rope, "factor"))], 1);
            case "dynamic":
                double factor = Number(rope, "factor");
                double stretch = factor * Math.Max(length, config.MaxPositions) / config.MaxPositions - (factor - 1);
                return new(Plain(theta * Math.Pow(stretch, dim / (dim - 2.0)), dim), 1);
            case "llama3":
                return new([.. Plain(theta, dim).Select(f => Llama3(rope, f))], 1);
            case "yarn":
                return Yarn(config, rope, theta, dim);
            default:
                throw new NotSupportedException(kind);
        }
    }

    private static double[] Plain(double theta, int dim) => [.. Enumerable.Range(0, dim / 2).Select(i => Math.Pow(theta, -2.0 * i / dim))];

    private static double Llama3(JsonElement rope, double frequency)
    {
        double factor = Number(rope, "factor"), low = Number(rope, "low_freq_factor"), high = Number(rope, "high_freq_factor");
        double rotations = Number(rope, "original_max_position_embeddings") * frequency / (2 * Math.PI); // over the original context
        if (rotations < low) return frequency / factor;
        if (rotations > high) return frequency;
        double smooth = (rotations - low) / (high - low);
        return (1 - smooth) * frequency / factor + smooth * frequency;
    }

    private static ReferenceRope Yarn(ReferenceConfig config, JsonElement rope, double theta, int dim)
    {
        double original = Get(rope, "original_max_position_embeddings")?.GetDouble() ?? config.MaxPositions;
        double factor = Get(rope, "factor")?.GetDouble() ?? config.MaxPositions / original;
        double DimensionOf(double rotations) => dim * Math.Log(original / (rotations * 2 * Math.PI)) / (2 * Math.Log(theta));
        double low = DimensionOf(Get(rope, "beta_fast")?.GetDouble() ?? 32), high = DimensionOf(Get(rope, "beta_slow")?.GetDouble() ?? 1);
        if (Get(rope, "truncate")?.GetBoolean() ?? true) (low, high) = (Math.Floor(low), Math.Ceiling(high));
        (low, high) = (Math.Max(low, 0), Math.Min(high, dim - 1));
        if (low == high) high += 0.001;
        double[] plain = Plain(theta, dim);
        for (int i = 0; i < plain.Length; i++)
        {
            double interpolated = Math.Clamp((i - low) / (high - low), 0, 1);
            plain[i] = plain[i] / factor * interpolated + plain[i] * (1 - interpolated);
        }

        return new(plain, AttentionFactorOf(rope, factor));
    }

    private static double AttentionFactorOf(JsonElement rope, double factor)
    {
        if (Get(rope, "attention_factor") is { } given) return given.GetDouble();
        static double Scale(double factor, double m) => factor <= 1 ? 1 : 0.1 * m * Math.Log(factor) + 1;
        double m = Get(rope, "mscale")?.GetDouble() ?? 0, all = Get(rope, "mscale_all_dim")?.GetDouble() ?? 0;
        return m != 0 && all != 0 ? Scale(factor, m) / Scale(factor, all) : Scale(factor, 1);
    }

    private static JsonElement? Get(JsonElement rope, string key) =>
        rope.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    private static double Number(JsonElement rope, string key) => rope.GetProperty(key).GetDouble();
}
