using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using FineTuneCore.Files;
using FineTuneCore.Models;

namespace FineTuneCore.Benchmarks.Scale;

/// <summary>
/// Model directories of known shapes with random bf16 weights, made once from a config alone, with the tokenizer of the quickstart's base model: its
/// ids lie inside every vocabulary here. Losses mean nothing; time and memory are those of the real model.
/// </summary>
internal static class RandomModel
{
    private const float Bound = 0.035f; // of a uniform distribution whose standard deviation is 0.02

    /// <summary>Qwen2.5-0.5B.</summary>
    internal static JsonObject Qwen05B => Config("qwen2", 896, 4864, 24, 14, 2, 151936, tied: true, theta: 1e6);

    /// <summary>The decoder of the LoRA step, for long contexts.</summary>
    internal static JsonObject Small => Config(
        "llama", LoraStep.HiddenSize, LoraStep.IntermediateSize, LoraStep.Layers, LoraStep.Heads, LoraStep.KeyValueHeads, LoraStep.VocabSize, tied: false, theta: 1e4);

    /// <summary>The directory with this model, written first where it is missing.</summary>
    internal static string Directory(string root, string name, JsonObject config)
    {
        string directory = Path.Combine(root, name);
        if (!System.IO.Directory.Exists(directory)) AtomicFile.WriteDirectory(directory, path => Write(path, config));
        return directory;
    }

    private static JsonObject Config(string type, int hidden, int intermediate, int layers, int heads, int keyValueHeads, int vocabulary, bool tied, double theta) => new()
    {
        ["model_type"] = type, ["hidden_size"] = hidden, ["intermediate_size"] = intermediate, ["num_hidden_layers"] = layers,
        ["num_attention_heads"] = heads, ["num_key_value_heads"] = keyValueHeads, ["vocab_size"] = vocabulary, ["max_position_embeddings"] = 32768,
        ["rms_norm_eps"] = 1e-6, ["rope_theta"] = theta, ["tie_word_embeddings"] = tied, ["hidden_act"] = "silu", ["bos_token_id"] = 1, ["eos_token_id"] = 2,
        ["torch_dtype"] = "bfloat16",
    };

    private static void Write(string directory, JsonObject config)
    {
        string file = Path.Combine(directory, "config.json");
        File.WriteAllText(file, config.ToJsonString());
        string tokenizer = Path.Combine("managed", "FineTuneCore.Cli", "Quickstart", "tiny-base");
        foreach (string name in (string[])["tokenizer.json", "tokenizer_config.json"]) File.Copy(Path.Combine(tokenizer, name), Path.Combine(directory, name));
        using FileStream stream = File.Create(Path.Combine(directory, "model.safetensors"));
        SafetensorsWriter.Write(stream, Tensors(ModelConfig.Load(file)));
        stream.Flush(flushToDisk: true);
    }

    private static IEnumerable<TensorToWrite> Tensors(ModelConfig config)
    {
        ulong number = 0;
        foreach (ModuleSpec module in WeightNames.Modules(config))
        {
            ulong stream = ++number;
            bool norm = module.Kind == WeightKind.Norm;
            long[] shape = norm ? [module.Columns] : [module.Rows, module.Columns];
            yield return new TensorToWrite(module.WeightName, ElementType.BF16, shape, s => Write(s, norm ? 1 : module.Rows, module.Columns, norm, stream));
            if (module.Bias) yield return new TensorToWrite(module.BiasName, ElementType.BF16, [module.Rows], s => Write(s, 1, module.Rows, false, stream + 10_000));
        }
    }

    private static void Write(Stream stream, long rows, long columns, bool ones, ulong number)
    {
        var random = new SplitMix64(number);
        var row = new ushort[columns];
        for (long r = 0; r < rows; r++)
        {
            for (long c = 0; c < columns; c++)
            {
                float value = ones ? 1 : ((random.Next() >> 40) / 8_388_608f - 1) * Bound;
                row[c] = (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16); // cut off, not rounded: they are random
            }

            stream.Write(MemoryMarshal.AsBytes(row.AsSpan()));
        }
    }
}
