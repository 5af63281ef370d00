using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.RegularExpressions;
using FineTuneCore.Files;
using FineTuneCore.Models;

namespace FineTuneCore.Adapters;

/// <summary>adapter_config.json: what PEFT reads and writes for LoRA.</summary>
internal static class PeftConfig
{
    internal const string FileName = "adapter_config.json";
    private const string PeftVersion = "0.17.0"; // the version whose keys are written

    /// <summary>Options and the name of the base model the adapter was trained on.</summary>
    /// <exception cref="FineTuneException">Missing, not JSON, or a kind of adapter that is not supported; named.</exception>
    internal static (LoraOptions Options, string? BaseModel) Read(string directory)
    {
        string path = Path.Combine(directory, FileName);
        if (!File.Exists(path)) throw FineTuneException.Failed($"{directory} has no {FileName}; --adapter expects a PEFT adapter directory or a run directory.");
        try
        {
            using JsonDocument document = StrictJson.Parse(File.ReadAllBytes(path));
            return Parse(new ConfigReader(document.RootElement, path), document.RootElement);
        }
        catch (JsonException e)
        {
            throw FineTuneException.Failed($"{path} is not valid JSON ({e.Message}).", e);
        }
    }

    private static (LoraOptions Options, string? BaseModel) Parse(ConfigReader config, JsonElement root)
    {
        string type = config.Text("peft_type") ?? throw FineTuneException.Failed($"{config.Path} has no peft_type; it is not a PEFT adapter.");
        if (type != "LORA") throw FineTuneException.Failed($"{config.Path}: peft_type '{type}' is not supported, only LORA is.");
        foreach (string key in (string[])["use_dora", "use_qalora", "fan_in_fan_out", "lora_bias"])
            if (config.Bool(key, false)) throw FineTuneException.Failed($"{config.Path}: {key} is true, which is not supported; merge the adapter with the tool that made it.");
        foreach (string key in (string[])["layer_replication", "trainable_token_indices", "target_parameters", "alora_invocation_tokens"])
            if (config.Has(key)) throw FineTuneException.Failed($"{config.Path}: {key} is set, which is not supported; merge the adapter with the tool that made it.");
        if ((config.Text("bias") ?? "none") != "none") throw config.Wrong("bias", "\"none\": adapters that train the base's biases are not supported");
        int rank = config.Int("r", 8);
        double alpha = config.Double("lora_alpha", 8), dropout = config.Double("lora_dropout", 0);
        if (dropout is < 0 or >= 1) throw config.Wrong("lora_dropout", "a number from 0, below 1");
        bool regex = root.TryGetProperty("target_modules", out JsonElement targets) && targets.ValueKind == JsonValueKind.String && targets.GetString() != "all-linear";
        return (new LoraOptions
        {
            Rank = rank,
            Alpha = alpha,
            UseRsLora = config.Bool("use_rslora", false),
            Dropout = dropout,
            TargetModules = targets.ValueKind switch
            {
                JsonValueKind.String => [IsRegex(targets.GetString()!) ? targets.GetString()! : throw config.Wrong("target_modules", "a regular expression")],
                JsonValueKind.Array => config.Texts("target_modules"),
                _ => throw config.Wrong("target_modules", "a list of module names or a regex; null depends on PEFT's table of defaults"),
            },
            TargetIsRegex = regex,
            ExcludeModules = ExcludedOf(config, root),
            LayersToTransform = config.Ints("layers_to_transform"),
            RankPattern = Map(config, root, "rank_pattern", whole: true).ToDictionary(p => p.Key, p => (int)p.Value),
            AlphaPattern = Map(config, root, "alpha_pattern", whole: false),
            ModulesToSave = config.Texts("modules_to_save"),
        }, config.Text("base_model_name_or_path"));
    }

    private static string[] ExcludedOf(ConfigReader config, JsonElement root) =>
        root.TryGetProperty("exclude_modules", out JsonElement value) && value.ValueKind == JsonValueKind.String
            ? throw config.Wrong("exclude_modules", "a list of module names")
            : config.Texts("exclude_modules");

    private static Dictionary<string, double> Map(ConfigReader config, JsonElement root, string key, bool whole)
    {
        var result = new Dictionary<string, double>();
        if (config.Object(key) is null) return result;
        foreach (JsonProperty entry in root.GetProperty(key).EnumerateObject())
        {
            if (entry.Value.ValueKind != JsonValueKind.Number || !entry.Value.TryGetDouble(out double value) || !(value > 0 && value <= int.MaxValue)
                || (whole && value != Math.Floor(value)) || !IsRegex(entry.Name))
            {
                throw config.Wrong(key, $"module names or regular expressions with {(whole ? "whole numbers from 1" : "numbers above 0")}");
            }

            result[entry.Name] = value;
        }

        return result;
    }

    private static bool IsRegex(string pattern)
    {
        try
        {
            _ = new Regex(pattern);
            return true;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }

    /// <summary>The file PEFT would write, keys sorted, indent 2.</summary>
    internal static byte[] Write(LoraOptions options, string? baseModel, IEnumerable<string> modules)
    {
        using var buffer = new MemoryStream();
        var format = new JsonWriterOptions { Indented = true, IndentSize = 2, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
        using (var json = new Utf8JsonWriter(buffer, format))
        {
            json.WriteStartObject();
            json.WriteStartObject("alpha_pattern");
            foreach ((string pattern, double alpha) in options.AlphaPattern) json.WriteNumber(pattern, alpha);
            json.WriteEndObject();
            json.WriteNull("auto_mapping");
            json.WriteString("base_model_name_or_path", baseModel);
            json.WriteString("bias", "none");
            if (options.ExcludeModules.Count == 0) json.WriteNull("exclude_modules");
            else WriteList(json, "exclude_modules", options.ExcludeModules, (w, name) => w.WriteStringValue(name));
            json.WriteBoolean("fan_in_fan_out", false);
            json.WriteBoolean("inference_mode", true);
            json.WriteBoolean("init_lora_weights", true);
            json.WriteNull("layer_replication");
            json.WriteNull("layers_pattern");
            if (options.LayersToTransform.Count == 0) json.WriteNull("layers_to_transform");
            else WriteList(json, "layers_to_transform", options.LayersToTransform, (w, n) => w.WriteNumberValue(n));
            json.WriteStartObject("loftq_config");
            json.WriteEndObject();
            json.WriteNumber("lora_alpha", options.Alpha);
            json.WriteBoolean("lora_bias", false);
            json.WriteNumber("lora_dropout", options.Dropout);
            json.WriteNull("megatron_config");
            json.WriteString("megatron_core", "megatron.core");
            if (options.ModulesToSave.Count == 0) json.WriteNull("modules_to_save");
            else WriteList(json, "modules_to_save", options.ModulesToSave, (w, name) => w.WriteStringValue(name));
            json.WriteString("peft_type", "LORA");
            json.WriteString("peft_version", PeftVersion);
            json.WriteNumber("r", options.Rank);
            json.WriteStartObject("rank_pattern");
            foreach ((string pattern, int rank) in options.RankPattern) json.WriteNumber(pattern, rank);
            json.WriteEndObject();
            json.WriteNull("revision");
            if (options.TargetIsRegex) json.WriteString("target_modules", options.TargetModules[0]);
            else WriteList(json, "target_modules", options.TargetModules is ["all-linear"] ? Suffixes(modules) : options.TargetModules, (w, name) => w.WriteStringValue(name));
            json.WriteString("task_type", "CAUSAL_LM");
            json.WriteBoolean("use_dora", false);
            json.WriteBoolean("use_rslora", options.UseRsLora);
            json.WriteEndObject();
        }

        return buffer.ToArray();
    }

    /// <summary>The last names of the adapted modules, as PEFT records what all-linear expanded to.</summary>
    private static IEnumerable<string> Suffixes(IEnumerable<string> modules) =>
        modules.Select(m => m[(m.LastIndexOf('.') + 1)..]).Distinct().Order(StringComparer.Ordinal);

    private static void WriteList<T>(Utf8JsonWriter json, string key, IEnumerable<T> items, Action<Utf8JsonWriter, T> write)
    {
        json.WriteStartArray(key);
        foreach (T item in items) write(json, item);
        json.WriteEndArray();
    }
}
