using System.Text.Json;
using System.Text.Json.Nodes;
using FineTuneCore.Files;

namespace FineTuneCore.Tests.Models;

/// <summary>One random checkpoint: its config.json, how it is stored and how many tokens are compared.</summary>
internal sealed record ArchitectureCase(string Config, ElementType Type = ElementType.F32, int Shards = 1, int Length = 23)
{
    internal int Vocab { get; } = new ReferenceConfig(Config).Vocab;

    internal RandomCheckpoint Write() => new(Config, Type, Shards);
}

/// <summary>What can differ between checkpoints of the supported families, a case each.</summary>
internal static class ArchitectureCases
{
    internal static IReadOnlyDictionary<string, ArchitectureCase> All { get; } = Build();

    private static Dictionary<string, ArchitectureCase> Build()
    {
        var cases = new Dictionary<string, ArchitectureCase>
        {
            ["llama"] = new(Llama()),
            ["llama bf16 sharded"] = new(Llama(), ElementType.BF16, Shards: 3),
            ["llama f16"] = new(Llama(), ElementType.F16),
            ["llama f32 sharded"] = new(Llama(), ElementType.F32, Shards: 5),
            ["llama multi-query"] = new(Llama(("num_key_value_heads", 1))),
            ["llama full heads by default"] = new(Llama(("num_key_value_heads", null))),
            ["llama tied"] = new(Llama(("tie_word_embeddings", true)), ElementType.BF16),
            ["llama attention bias"] = new(Llama(("attention_bias", true)), ElementType.BF16),
            ["llama mlp bias"] = new(Llama(("mlp_bias", true))),
            ["llama wide heads"] = new(Llama(("head_dim", 20))),
            ["llama narrow heads"] = new(Llama(("head_dim", 6))),
            ["llama odd sizes"] = new(Llama(("hidden_size", 56), ("intermediate_size", 86), ("vocab_size", 101)), ElementType.BF16),
            ["llama intermediate 172"] = new(Llama(("intermediate_size", 172), ("vocab_size", 259))),
            ["llama one layer, one head"] = new(Llama(
                ("num_hidden_layers", 1), ("num_attention_heads", 1), ("num_key_value_heads", 1), ("hidden_size", 14), ("intermediate_size", 7),
                ("vocab_size", 5))),
            ["llama four tokens"] = new(Llama(), Length: 4),
            ["llama large vocabulary"] = new(Llama(("hidden_size", 16), ("num_key_value_heads", 4), ("vocab_size", 20011)), ElementType.BF16, Length: 5),
            ["llama widest heads"] = new(Llama(("head_dim", 256), ("num_attention_heads", 2), ("num_key_value_heads", 1))),
            ["llama narrowest heads"] = new(Llama(("head_dim", 2), ("num_attention_heads", 6), ("num_key_value_heads", 3))),
            ["llama long"] = new(Llama(("max_position_embeddings", 512)), Length: 301),
            ["llama defaults of theta and epsilon"] = new(Llama(("rope_theta", null), ("rms_norm_eps", null))),
            ["llama large theta"] = new(Llama(("rope_theta", 500000.0))),
            ["mistral absent window is 4096"] = new(Mistral()),
            ["mistral without window"] = new(Mistral(("sliding_window", Null)), Length: 40),
            ["mistral short window"] = new(Mistral(("sliding_window", 7)), Length: 40),
            ["mistral window 1"] = new(Mistral(("sliding_window", 1)), ElementType.BF16),
            ["mistral eight kv heads by default"] = new(Mistral(("num_key_value_heads", null), ("num_attention_heads", 8))),
            ["qwen2"] = new(Qwen2()),
            ["qwen2 tied bf16"] = new(Qwen2(("tie_word_embeddings", true)), ElementType.BF16, Shards: 2),
            ["qwen2 window not in use"] = new(Qwen2(("sliding_window", 5), ("use_sliding_window", false), ("max_window_layers", 0)), Length: 30),
            ["qwen2 window from layer 1"] = new(Qwen2(("sliding_window", 5), ("use_sliding_window", true), ("max_window_layers", 1)), Length: 30),
            ["qwen2 window in all layers"] = new(Qwen2(("sliding_window", 5), ("use_sliding_window", true), ("max_window_layers", 0)), Length: 30),
            ["qwen2 window from layer 28 by default"] = new(Qwen2(("sliding_window", 5), ("use_sliding_window", true)), Length: 30),
            ["qwen2 window null"] = new(Qwen2(("sliding_window", Null), ("use_sliding_window", true), ("max_window_layers", 0))),
            ["qwen2 layer types"] = new(Qwen2(
                ("sliding_window", 4), ("use_sliding_window", true), ("layer_types", new JsonArray("sliding_attention", "full_attention"))), Length: 30),
            ["qwen3"] = new(Qwen3()),
            ["qwen3 bf16 sharded"] = new(Qwen3(), ElementType.BF16, Shards: 2),
            ["qwen3 head dim 128 by default"] = new(Qwen3(("head_dim", null))),
            ["qwen3 attention bias"] = new(Qwen3(("attention_bias", true))),
            ["qwen3 tied, layer types"] = new(Qwen3(
                ("tie_word_embeddings", true), ("sliding_window", 6), ("use_sliding_window", true),
                ("layer_types", new JsonArray("full_attention", "sliding_attention"))), ElementType.F16, Length: 30),
            ["mistral long context by default"] = new(Mistral(
                ("max_position_embeddings", null), ("rope_scaling", Rope("yarn", 4)), ("head_dim", 32))),
            ["qwen3 long context by default"] = new(Qwen3(("max_position_embeddings", null), ("rope_scaling", Rope("yarn", 4)), ("head_dim", 32))),
            // These four have a golden row in tests/golden/models.
            ["llama golden"] = new(Llama(("vocab_size", 61), ("rope_scaling", Rope("llama3", 8, ("low_freq_factor", 1.0), ("high_freq_factor", 4.0), ("original_max_position_embeddings", 32))))),
            ["mistral golden"] = new(Mistral(("vocab_size", 61), ("sliding_window", 9))),
            ["qwen2 golden"] = new(Qwen2(("vocab_size", 61), ("tie_word_embeddings", true))),
            ["qwen3 golden"] = new(Qwen3(("vocab_size", 61), ("rope_scaling", Rope("yarn", 4, ("original_max_position_embeddings", 64))))),
        };
        AddRope(cases);
        return cases;
    }

    private static void AddRope(Dictionary<string, ArchitectureCase> cases)
    {
        void Add(string name, JsonObject rope, int length = 40, params (string, JsonNode?)[] more) =>
            cases[$"rope {name}"] = new(Llama([("rope_scaling", rope), .. more]), Length: length);

        Add("linear", Rope("linear", 4));
        Add("linear, key type", new JsonObject { ["type"] = "linear", ["factor"] = 2.5 });
        Add("dynamic within the context", Rope("dynamic", 4));
        // max_position_embeddings is 64: longer sequences stretch theta.
        Add("dynamic past the context", Rope("dynamic", 4), length: 90);
        Add("llama3", Rope("llama3", 8, ("low_freq_factor", 1.0), ("high_freq_factor", 4.0), ("original_max_position_embeddings", 64)));
        Add("llama3 narrow ramp", Rope("llama3", 32, ("low_freq_factor", 2.0), ("high_freq_factor", 3.0), ("original_max_position_embeddings", 128)), 40, ("head_dim", 32));
        Add("yarn", Rope("yarn", 4, ("original_max_position_embeddings", 64)), 40, ("head_dim", 32), ("max_position_embeddings", 256));
        Add("yarn without original", Rope("yarn", 2), 40, ("head_dim", 32));
        Add("yarn factor from the contexts", new JsonObject { ["rope_type"] = "yarn", ["original_max_position_embeddings"] = 16 }, 40, ("head_dim", 32));
        Add("yarn attention factor", Rope("yarn", 4, ("original_max_position_embeddings", 64), ("attention_factor", 0.8)));
        Add("yarn mscale", Rope("yarn", 40, ("original_max_position_embeddings", 64), ("mscale", 0.7), ("mscale_all_dim", 1.0)), 40, ("head_dim", 24));
        Add("yarn equal mscales", Rope("yarn", 40, ("original_max_position_embeddings", 64), ("mscale", 1.0), ("mscale_all_dim", 1.0)));
        Add("yarn not truncated", Rope("yarn", 4, ("original_max_position_embeddings", 64), ("truncate", false)), 40, ("head_dim", 32));
        Add("yarn betas", Rope("yarn", 4, ("original_max_position_embeddings", 2048), ("beta_fast", 16.0), ("beta_slow", 2.0)), 40, ("head_dim", 32));
        cases["rope parameters of newer files, plain"] = new(Llama(
            ("rope_theta", null), ("rope_parameters", new JsonObject { ["rope_type"] = "default", ["rope_theta"] = 250000.0 })), Length: 40);
        JsonObject scaled = Rope("llama3", 8, ("low_freq_factor", 1.0), ("high_freq_factor", 4.0), ("original_max_position_embeddings", 32), ("rope_theta", 50000.0));
        cases["rope parameters of newer files, llama3"] = new(Llama(("rope_theta", null), ("rope_parameters", scaled)), Length: 40);
        cases["qwen2 yarn"] = new(Qwen2(("rope_scaling", Rope("yarn", 4, ("original_max_position_embeddings", 32)))), ElementType.BF16, Length: 40);
    }

    /// <summary>Stands for a JSON null, which no JsonNode can be.</summary>
    private static JsonNode Null => "null";

    private static JsonObject Rope(string type, double factor, params (string Key, JsonNode? Value)[] more)
    {
        var rope = new JsonObject { ["rope_type"] = type, ["factor"] = factor };
        foreach ((string key, JsonNode? value) in more) rope[key] = value;
        return rope;
    }

    private static string Llama(params (string, JsonNode?)[] changes) => Change("llama", changes);

    private static string Mistral(params (string, JsonNode?)[] changes) => Change("mistral", changes);

    private static string Qwen2(params (string, JsonNode?)[] changes) => Change("qwen2", changes);

    private static string Qwen3(params (string, JsonNode?)[] changes) => Change("qwen3", [("head_dim", 16), .. changes]);

    /// <summary>The small base config with keys changed; null removes the key, <see cref="Null"/> writes a JSON null.</summary>
    private static string Change(string modelType, (string Key, JsonNode? Value)[] changes)
    {
        JsonObject config = JsonNode.Parse(RandomCheckpoint.Llama(("model_type", modelType)))!.AsObject();
        foreach ((string key, JsonNode? value) in changes)
        {
            config.Remove(key);
            if (value is not null) config[key] = value.GetValueKind() == JsonValueKind.String && value.GetValue<string>() == "null" ? null : value.DeepClone();
        }

        return config.ToJsonString();
    }
}
