using System.Text.Json.Nodes;
using FineTuneCore.Adapters;
using FineTuneCore.Models;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Models;

/// <summary>config.json and adapter_config.json: what they may leave out, and what damaged ones end in.</summary>
public sealed class ConfigTests
{
    private static readonly string[] Garbage =
        ["null", "0", "-1", "1.5", "1e300", "-1e300", "9223372036854775808", "true", "\"\"", "\"x\"", "[]", "[1]", "[null]", "[\"a\"]", "{}", "{\"a\": 1}", "\"\\ud800\"", "4294967296", "2147483647"];

    [Theory]
    [InlineData("mistral", "", 4096)]
    [InlineData("mistral", "\"sliding_window\": null", 0)]
    [InlineData("mistral", "\"sliding_window\": 7", 7)]
    [InlineData("llama", "\"sliding_window\": 7", 0)]
    [InlineData("qwen2", "\"sliding_window\": 7, \"max_window_layers\": 0", 0)]
    [InlineData("qwen2", "\"sliding_window\": 7, \"max_window_layers\": 0, \"use_sliding_window\": true", 7)]
    [InlineData("qwen2", "\"sliding_window\": null, \"max_window_layers\": 0, \"use_sliding_window\": true", 0)]
    [InlineData("qwen3", "\"max_window_layers\": 0, \"use_sliding_window\": true", 4096)]
    public void WindowsAreWhatTransformersMakesOfTheKeys(string modelType, string keys, int window)
    {
        string config = Changed(modelType, []);
        ModelConfig.Parse(keys.Length == 0 ? config : $"{config[..^1]}, {keys}}}", "config.json").SlidingWindow.Should().AllBeEquivalentTo(window);
    }

    [Theory]
    [InlineData("llama", 2048)]
    [InlineData("mistral", 131072)]
    [InlineData("qwen2", 32768)]
    [InlineData("qwen3", 32768)]
    public void AContextThatIsLeftOutIsTheFamilys(string modelType, int context) =>
        ModelConfig.Parse(Changed(modelType, [("max_position_embeddings", null)]), "config.json").MaxPositionEmbeddings.Should().Be(context);

    [Fact]
    public void HeadsThatDoNotDivideTheHiddenSizeNeedAHeadDim()
    {
        Action act = () => ModelConfig.Parse(Changed("llama", [("num_attention_heads", 7), ("num_key_value_heads", 7)]), "config.json");
        act.Should().Throw<FineTuneException>().WithMessage("config.json: num_attention_heads is 7, expected a divisor of hidden_size (48)*");
        ModelConfig.Parse(Changed("llama", [("num_attention_heads", 7), ("num_key_value_heads", 7), ("head_dim", 8)]), "config.json").HeadDim.Should().Be(8);
    }

    [Fact]
    public void GarbageInAnyKeyIsTakenOrRefusedByName()
    {
        string[] rope = ["rope_type", "type", "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate", "rope_theta", "partial_rotary_factor"];
        string[] keys =
        [
            "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size",
            "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_scaling", "rope_parameters", "tie_word_embeddings", "attention_bias", "mlp_bias",
            "sliding_window", "use_sliding_window", "max_window_layers", "layer_types", "eos_token_id", "bos_token_id", "torch_dtype", "dtype", "hidden_act",
            "partial_rotary_factor", "quantization_config", "original_max_position_embeddings",
        ];
        int refused = 0;
        foreach (string family in (string[])["llama", "mistral", "qwen2", "qwen3"])
        {
            foreach (string value in Garbage)
            {
                foreach (string key in keys)
                    refused += Refused(text => ModelConfig.Parse(text, "config.json"), With(Changed(family, [("use_sliding_window", true)]), key, value));
                foreach (string type in (string[])["linear", "dynamic", "llama3", "yarn"])
                {
                    foreach (string key in rope)
                    {
                        string scaling = With($$"""{"rope_type": "{{type}}", "factor": 2.0}""", key, value);
                        refused += Refused(text => Tables(ModelConfig.Parse(text, "config.json")), With(Changed(family, []), "rope_scaling", scaling));
                    }
                }
            }
        }

        refused.Should().BeGreaterThan(1000);
    }

    [Fact]
    public void GarbageInAnAdapterConfigIsTakenOrRefusedByName()
    {
        string directory = Directory.CreateTempSubdirectory("ftc-adapter-").FullName;
        string path = Path.Combine(directory, "adapter_config.json");
        const string Good = """{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "lora_dropout": 0.1}""";
        string[] keys =
        [
            "peft_type", "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "layers_to_transform", "rank_pattern", "alpha_pattern",
            "modules_to_save", "bias", "use_rslora", "use_dora", "fan_in_fan_out", "base_model_name_or_path", "layer_replication", "trainable_token_indices",
        ];
        ModelConfig model = ModelConfig.Parse(RandomCheckpoint.Llama(), "config.json");
        int refused = 0;
        foreach (string value in (string[])[.. Garbage, "{\"q_proj\": 2}", "{\"q_proj\": -2}", "{\"q_proj\": 1.5}", "{\"q_proj\": 1e99}", "{\"(\": 2}", "\"(\"", "\".*q_proj\""])
        {
            foreach (string key in keys)
            {
                refused += Refused(
                    text =>
                    {
                        File.WriteAllText(path, text);
                        LoraOptions options = PeftConfig.Read(directory).Options;
                        foreach (ModuleSpec module in WeightNames.Modules(model).Where(options.Targets)) options.ScalingOf(module.Name);
                    },
                    With(Good, key, value));
            }
        }

        refused.Should().BeGreaterThan(150);
        Directory.Delete(directory, recursive: true);
    }

    private static void Tables(ModelConfig config)
    {
        RopeTables tables = RopeTables.Create(config, 4);
        if (!tables.Cos.All(float.IsFinite) || !tables.Sin.All(float.IsFinite)) throw new InvalidOperationException("the tables hold a NaN");
    }

    /// <summary>1 where it throws the exception meant for users; any other one fails the test.</summary>
    private static int Refused(Action<string> read, string text)
    {
        try
        {
            read(text);
            return 0;
        }
        catch (FineTuneException e)
        {
            e.Message.Should().Contain("config.json");
            return 1;
        }
        catch (Exception e)
        {
            Assert.Fail($"{e.GetType().Name}: {e.Message}\nfor {text}");
            return 0;
        }
    }

    private static string With(string json, string key, string value)
    {
        JsonObject config = JsonNode.Parse(json)!.AsObject();
        config.Remove(key);
        string text = config.ToJsonString();
        return $"{text[..^1]}{(config.Count > 0 ? ", " : "")}\"{key}\": {value}}}";
    }

    private static string Changed(string modelType, (string Key, JsonNode? Value)[] changes)
    {
        JsonObject config = JsonNode.Parse(RandomCheckpoint.Llama(("model_type", modelType)))!.AsObject();
        foreach ((string key, JsonNode? value) in changes)
        {
            config.Remove(key);
            if (value is not null) config[key] = value;
        }

        return config.ToJsonString();
    }
}
