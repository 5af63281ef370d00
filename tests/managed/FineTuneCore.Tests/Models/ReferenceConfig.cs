using System.Text.Json;

namespace FineTuneCore.Tests.Models;

/// <summary>
/// What transformers makes of a config.json of the four families, with its defaults for keys that are missing. Written from the
/// documented configuration classes, on purpose without a look at the product's own reader.
/// </summary>
internal sealed class ReferenceConfig
{
    private readonly JsonElement _json;

    internal ReferenceConfig(string text)
    {
        using JsonDocument document = JsonDocument.Parse(text);
        _json = document.RootElement.Clone();
        ModelType = _json.GetProperty("model_type").GetString()!;
        bool qwen = ModelType is "qwen2" or "qwen3";
        Hidden = Int("hidden_size", 4096);
        Intermediate = Int("intermediate_size", qwen ? 22016 : 11008);
        Layers = Int("num_hidden_layers", 32);
        Heads = Int("num_attention_heads", 32);
        KeyValueHeads = Int("num_key_value_heads", ModelType switch { "llama" => Heads, "mistral" => 8, _ => 32 });
        HeadDim = Int("head_dim", ModelType == "qwen3" ? 128 : Hidden / Heads);
        Vocab = Int("vocab_size", qwen ? 151936 : 32000);
        MaxPositions = Int("max_position_embeddings", ModelType switch { "llama" => 2048, "mistral" => 131072, _ => 32768 });
        Epsilon = Double("rms_norm_eps", 1e-6);
        Tied = Bool("tie_word_embeddings", false);
        bool attentionBias = ModelType is "llama" or "qwen3" && Bool("attention_bias", false);
        QkvBias = ModelType == "qwen2" || attentionBias;
        OutputBias = attentionBias;
        MlpBias = ModelType == "llama" && Bool("mlp_bias", false);
        QkNorm = ModelType == "qwen3";
        Windows = [.. Enumerable.Range(0, Layers).Select(WindowOf)];
    }

    internal string ModelType { get; }
    internal int Hidden { get; }
    internal int Intermediate { get; }
    internal int Layers { get; }
    internal int Heads { get; }
    internal int KeyValueHeads { get; }
    internal int HeadDim { get; }
    internal int Vocab { get; }
    internal int MaxPositions { get; }
    internal double Epsilon { get; }
    internal bool Tied { get; }
    internal bool QkvBias { get; }
    internal bool OutputBias { get; }
    internal bool MlpBias { get; }
    internal bool QkNorm { get; }

    /// <summary>Keys a row sees at most, itself included, per layer; null = all before it.</summary>
    internal int?[] Windows { get; }

    /// <summary>The rope dictionary of either generation of files: rope_parameters, or rope_scaling beside rope_theta.</summary>
    internal JsonElement? RopeScaling => Property("rope_parameters") ?? Property("rope_scaling");

    internal double RopeTheta => RopeScaling is { } rope && rope.TryGetProperty("rope_theta", out JsonElement theta) ? theta.GetDouble() : Double("rope_theta", 10000);

    private int? WindowOf(int layer)
    {
        switch (ModelType)
        {
            case "llama":
                return null;
            case "mistral":
                // A missing key is the class default, a null is none.
                return !_json.TryGetProperty("sliding_window", out JsonElement given) ? 4096 : given.ValueKind == JsonValueKind.Null ? null : given.GetInt32();
            default:
                if (!Bool("use_sliding_window", false) || (_json.TryGetProperty("sliding_window", out JsonElement none) && none.ValueKind == JsonValueKind.Null)) return null;
                bool slides = Property("layer_types") is { } types
                    ? types[layer].GetString() == "sliding_attention" : layer >= Int("max_window_layers", 28);
                return slides ? Int("sliding_window", 4096) : null;
        }
    }

    /// <summary>Every tensor of the checkpoint: name, shape.</summary>
    internal IEnumerable<(string Name, int[] Shape)> Tensors()
    {
        yield return ("model.embed_tokens.weight", [Vocab, Hidden]);
        int q = Heads * HeadDim, kv = KeyValueHeads * HeadDim;
        for (int i = 0; i < Layers; i++)
        {
            string layer = $"model.layers.{i}.";
            foreach ((string name, int rows, int columns, bool bias) in ((string, int, int, bool)[])
            [
                ("self_attn.q_proj", q, Hidden, QkvBias), ("self_attn.k_proj", kv, Hidden, QkvBias), ("self_attn.v_proj", kv, Hidden, QkvBias),
                ("self_attn.o_proj", Hidden, q, OutputBias), ("mlp.gate_proj", Intermediate, Hidden, MlpBias),
                ("mlp.up_proj", Intermediate, Hidden, MlpBias), ("mlp.down_proj", Hidden, Intermediate, MlpBias),
            ])
            {
                yield return ($"{layer}{name}.weight", [rows, columns]);
                if (bias) yield return ($"{layer}{name}.bias", [rows]);
            }

            yield return ($"{layer}input_layernorm.weight", [Hidden]);
            yield return ($"{layer}post_attention_layernorm.weight", [Hidden]);
            if (!QkNorm) continue;
            yield return ($"{layer}self_attn.q_norm.weight", [HeadDim]);
            yield return ($"{layer}self_attn.k_norm.weight", [HeadDim]);
        }

        yield return ("model.norm.weight", [Hidden]);
        if (!Tied) yield return ("lm_head.weight", [Vocab, Hidden]);
    }

    private JsonElement? Property(string key) =>
        _json.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    private int Int(string key, int otherwise) => Property(key)?.GetInt32() ?? otherwise;

    private double Double(string key, double otherwise) => Property(key)?.GetDouble() ?? otherwise;

    private bool Bool(string key, bool otherwise) => Property(key)?.GetBoolean() ?? otherwise;
}
