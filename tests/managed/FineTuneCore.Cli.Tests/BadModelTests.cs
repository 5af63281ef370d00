using System.Text;
using System.Text.Json.Nodes;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests;

/// <summary>Model directories and adapters that are damaged, incomplete or of another kind, as a user meets them.</summary>
public sealed class BadModelTests
{
    [Theory]
    [InlineData(1_000_000, "model.safetensors", "truncated")]
    [InlineData(300, "model.safetensors", "truncated")]
    [InlineData(5, "model.safetensors", "5 bytes long")]
    [InlineData(0, "model.safetensors", "0 bytes long")]
    public void TruncatedWeights(int length, params string[] says)
    {
        using var bad = new BadInput();
        using (FileStream stream = File.OpenWrite(bad.ModelFile("model.safetensors"))) stream.SetLength(length);
        bad.TrainingFails(1, [], says);
    }

    [Fact]
    public void WeightsOfAnotherShape()
    {
        using var bad = new BadInput();
        Retype(bad, header => header["model.layers.2.mlp.up_proj.weight"]!["shape"] = new JsonArray(64, 172));
        bad.TrainingFails(1, [], "model.safetensors", "model.layers.2.mlp.up_proj.weight", "[64, 172]", "[172, 64]", "config.json");
    }

    [Fact]
    public void AMissingTensor()
    {
        using var bad = new BadInput();
        Retype(bad, header =>
        {
            JsonNode norm = header["model.layers.3.input_layernorm.weight"]!.DeepClone();
            header.Remove("model.layers.3.input_layernorm.weight");
            header["model.layers.3.input_norm.weight"] = norm;
        });
        bad.TrainingFails(1, [], "model.safetensors", "model.layers.3.input_layernorm.weight", "incomplete");
    }

    [Fact]
    public void WeightsOfIntegers()
    {
        using var bad = new BadInput();
        Retype(bad, header => header["model.layers.0.self_attn.q_proj.weight"]!["dtype"] = "I32");
        bad.TrainingFails(1, [], "model.layers.0.self_attn.q_proj.weight", "I32", "expected F32, BF16 or F16");
    }

    [Theory]
    [InlineData("gpt_neox")]
    [InlineData("mixtral")]
    public void AnUnknownArchitecture(string modelType)
    {
        using var bad = new BadInput();
        bad.Config("model_type", modelType);
        bad.TrainingFails(1, [], "config.json", modelType, "llama, mistral, qwen2, qwen3");
    }

    [Theory]
    [InlineData("num_attention_heads", "0", "whole number from 1")]
    [InlineData("num_attention_heads", "7", "divisor of num_attention_heads (7)")]
    [InlineData("num_key_value_heads", "3", "divisor of num_attention_heads")]
    [InlineData("hidden_size", "-64", "whole number from 1")]
    [InlineData("hidden_size", "2000000000", "whole number from 1 to")]
    [InlineData("num_hidden_layers", "2000000000", "whole number from 1 to")]
    [InlineData("intermediate_size", "172.5", "whole number")]
    [InlineData("vocab_size", "\"many\"", "whole number")]
    [InlineData("rms_norm_eps", "-1", "from 0")]
    [InlineData("rms_norm_eps", "1e300", "a number")]
    [InlineData("rms_norm_eps", "NaN", "not valid JSON")]
    [InlineData("rope_theta", "0", "above 1")]
    [InlineData("rope_scaling", "{\"rope_type\": \"spiral\", \"factor\": 2}", "linear, dynamic (NTK), llama3 and yarn")]
    [InlineData("rope_scaling", "{\"rope_type\": \"linear\", \"factor\": -2}", "rope_scaling.factor is -2")]
    [InlineData("rope_scaling", "8", "an object")]
    [InlineData("hidden_act", "\"gelu\"", "expected silu")]
    [InlineData("tie_word_embeddings", "\"yes\"", "true or false")]
    [InlineData("hidden_size", "null", "has no hidden_size")]
    public void ConfigsThatMakeNoDecoder(string key, string value, string says)
    {
        using var bad = new BadInput();
        JsonObject config = JsonNode.Parse(File.ReadAllText(bad.ModelFile("config.json")))!.AsObject();
        config.Remove(key);
        string text = config.ToJsonString();
        File.WriteAllText(bad.ModelFile("config.json"), $"{text[..^1]}, \"{key}\": {value}}}");
        bad.TrainingFails(1, [], "config.json", key == "rms_norm_eps" && value == "NaN" ? "JSON" : key.Split('.')[0], says);
    }

    [Fact]
    public void AConfigThatIsNoJson()
    {
        using var bad = new BadInput();
        File.WriteAllText(bad.ModelFile("config.json"), "{\"model_type\": ");
        bad.TrainingFails(1, [], "config.json", "not valid JSON");
        File.WriteAllText(bad.ModelFile("config.json"), "[]");
        bad.TrainingFails(1, [], "config.json", "not a JSON object");
    }

    [Theory]
    [InlineData("gptq")]
    [InlineData("awq")]
    public void QuantisedByOtherTools(string method)
    {
        using var bad = new BadInput();
        bad.Config("quantization_config", new JsonObject { ["quant_method"] = method, ["bits"] = 4, ["group_size"] = 128 });
        bad.TrainingFails(1, [], "config.json", method, "bitsandbytes");
    }

    [Fact]
    public void OnlyPickles()
    {
        using var bad = new BadInput();
        File.Move(bad.ModelFile("model.safetensors"), bad.ModelFile("pytorch_model.bin"));
        bad.TrainingFails(1, [], bad.Model, "pytorch_model.bin", "never loaded", "convert");
    }

    [Fact]
    public void AShardThatIsMissing()
    {
        using var bad = new BadInput();
        File.Move(bad.ModelFile("model.safetensors"), bad.ModelFile("model-00001-of-00002.safetensors"));
        File.WriteAllText(
            bad.ModelFile("model.safetensors.index.json"),
            "{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\", \"b\": \"model-00002-of-00002.safetensors\"}}");
        bad.TrainingFails(1, [], "index.json", "model-00002-of-00002.safetensors", "incomplete");
        File.WriteAllText(bad.ModelFile("model.safetensors.index.json"), "[1, 2]");
        bad.TrainingFails(1, [], "index.json", "weight_map");
        File.WriteAllText(bad.ModelFile("model.safetensors.index.json"), "{\"weight_map\": {\"a\": 7}}");
        bad.TrainingFails(1, [], "index.json", "7", "expected the name of a .safetensors file");
        File.WriteAllText(bad.ModelFile("model.safetensors.index.json"), "{\"weight_map\": {\"a\": \"../../etc/passwd\"}}");
        bad.TrainingFails(1, [], "index.json", "../../etc/passwd", "same directory");
    }

    [Fact]
    public void NoSuchModel()
    {
        using var bad = new BadInput();
        BadInput.Failed(FtcProcess.Run("generate", "--model", bad.Place("nowhere"), "--prompt", "x"), 1, "nowhere", "was not found", "Nothing is downloaded");
        BadInput.Failed(FtcProcess.Run("generate", "--model", bad.Data, "--prompt", "x"), 1, "data.jsonl", "director");
        Directory.CreateDirectory(bad.Place("empty"));
        BadInput.Failed(FtcProcess.Run("generate", "--model", bad.Place("empty"), "--prompt", "x"), 1, "empty", "no config.json");
    }

    [Theory]
    [InlineData("generation_config.json")]
    [InlineData("tokenizer_config.json")]
    [InlineData("special_tokens_map.json")]
    public void CompanionFilesThatAreNoJson(string name)
    {
        using var bad = new BadInput();
        File.WriteAllText(bad.ModelFile(name), "{\"bos_token\": ");
        BadInput.Failed(FtcProcess.Run("generate", "--model", bad.Model, "--prompt", "x", "--max-tokens", "2"), 1, name, "not valid JSON");
    }

    [Theory]
    [InlineData("manifest.json", "{", 1)]
    [InlineData("manifest.json", "{}", 1)]
    [InlineData("manifest.json", "[]", 1)]
    [InlineData("adapter/adapter_config.json", "{", 1)]
    [InlineData("adapter/adapter_model.safetensors", "", 1)]
    public void ARunDirectoryThatIsDamaged(string name, string content, int code)
    {
        using var bad = new BadInput();
        bad.Train().ExitCode.Should().Be(0);
        File.WriteAllText(Path.Combine(bad.Output, name), content);
        BadInput.Failed(FtcProcess.Run("generate", "--model", bad.Output, "--prompt", "x", "--max-tokens", "2"), code, Path.GetFileName(name));
    }

    [Theory]
    [InlineData("config.resolved.yaml", "rank: many\n", 2)]
    [InlineData("config.resolved.yaml", "", 2)]
    [InlineData("config.resolved.yaml", "ranks: 4\n", 1)]
    public void ARunThatCannotBeResumed(string name, string content, int code)
    {
        using var bad = new BadInput();
        bad.Train().ExitCode.Should().Be(0);
        File.WriteAllText(Path.Combine(bad.Output, name), content);
        BadInput.Failed(FtcProcess.Run("train", "--resume", "--output", bad.Output), code);
    }

    [Fact]
    public void NoTokenizer()
    {
        using var bad = new BadInput();
        File.Delete(bad.ModelFile("tokenizer.json"));
        bad.TrainingFails(1, [], bad.Model, "tokenizer.json", "tokenizer.model");
        File.WriteAllText(bad.ModelFile("tokenizer.json"), "{\"model\": {}}");
        bad.TrainingFails(1, [], "tokenizer.json");
    }

    [Fact]
    public void ATokenizerOfALargerVocabulary()
    {
        using var bad = new BadInput();
        bad.Config("vocab_size", 500);
        bad.TrainingFails(1, [], bad.Model, "ids up to 511", "vocab_size 500", "different models");
    }

    [Fact]
    public void AnAdapterForAnotherModel()
    {
        using var bad = new BadInput();
        bad.Train().ExitCode.Should().Be(0);
        string adapter = Path.Combine(bad.Output, "adapter");
        RenameTensor(Path.Combine(adapter, "adapter_model.safetensors"), "layers.4.", "layers.9.");
        BadInput.Failed(
            FtcProcess.Run("generate", "--model", bad.Model, "--adapter", adapter, "--prompt", "x"), 1,
            "adapter_model.safetensors", "model.layers.4.", "another model");
    }

    [Fact]
    public void AnAdapterOfAnotherKind()
    {
        using var bad = new BadInput();
        string adapter = bad.Place("adapter");
        Directory.CreateDirectory(adapter);
        FtcProcess.Result Use() => FtcProcess.Run("generate", "--model", bad.Model, "--adapter", adapter, "--prompt", "x");
        BadInput.Failed(Use(), 1, adapter, "adapter_config.json");
        string config = Path.Combine(adapter, "adapter_config.json");
        File.WriteAllText(config, "{\"peft_type\": \"IA3\"}");
        BadInput.Failed(Use(), 1, "adapter_config.json", "IA3", "LORA");
        File.WriteAllText(config, "{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [\"q_proj\"], \"use_dora\": true}");
        BadInput.Failed(Use(), 1, "adapter_config.json", "use_dora", "not supported");
        File.WriteAllText(config, "{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [\"q_proj\"]}");
        BadInput.Failed(Use(), 1, adapter, "adapter_model.safetensors", "incomplete");
        File.WriteAllText(Path.Combine(adapter, "adapter_model.bin"), "pickle");
        BadInput.Failed(Use(), 1, "adapter_model.bin", "never loaded");
    }

    /// <summary>Edits the header of model.safetensors, keeping the data.</summary>
    private static void Retype(BadInput bad, Action<JsonObject> edit)
    {
        string path = bad.ModelFile("model.safetensors");
        byte[] bytes = File.ReadAllBytes(path);
        int length = (int)BitConverter.ToUInt64(bytes);
        JsonObject header = JsonNode.Parse(Encoding.UTF8.GetString(bytes, 8, length))!.AsObject();
        edit(header);
        byte[] changed = Encoding.UTF8.GetBytes(header.ToJsonString());
        File.WriteAllBytes(path, [.. BitConverter.GetBytes((ulong)changed.Length), .. changed, .. bytes[(8 + length)..]]);
    }

    private static void RenameTensor(string path, string from, string to)
    {
        byte[] bytes = File.ReadAllBytes(path);
        int length = (int)BitConverter.ToUInt64(bytes);
        byte[] header = Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(bytes, 8, length).Replace(from, to));
        header.Length.Should().Be(length);
        header.CopyTo(bytes, 8);
        File.WriteAllBytes(path, bytes);
    }
}
