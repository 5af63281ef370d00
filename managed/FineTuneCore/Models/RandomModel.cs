using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using FineTuneCore.Files;
using FineTuneCore.Tokenization;

namespace FineTuneCore.Models;

/// <summary>
/// Model directories with random weights: what a unit test fine-tunes where a real model would take too long, and what training from nothing starts
/// from. The same seed gives the same bytes on every platform.
/// </summary>
public static class RandomModel
{
    private const double Deviation = 0.02; // Radford et al. 2019; outputs of a block by 1/sqrt(2 layers) smaller

    /// <summary>Writes config.json, bf16 weights, and a tokenizer of bytes with a chat template.</summary>
    /// <param name="directory">Created; files of these names in it are replaced.</param>
    /// <param name="shape">Null = the defaults.</param>
    /// <param name="seed">Of the weights.</param>
    /// <exception cref="FineTuneException">A number of the shape is out of its range.</exception>
    public static void Write(string directory, RandomModelShape? shape = null, int seed = 42)
    {
        shape ??= new RandomModelShape();
        shape.Check();
        Directory.CreateDirectory(directory);
        ChatMlTokenizer.Write(directory, [], shape.ContextLength);
        WriteWeights(directory, shape, ChatMlTokenizer.Vocabulary([]).Length, (ulong)seed);
    }

    /// <summary>Writes config.json and the weights.</summary>
    internal static void WriteWeights(string directory, RandomModelShape shape, int vocabSize, ulong seed)
    {
        ChatMlTokenizer.WriteJson(Path.Combine(directory, "config.json"), json => WriteConfig(json, shape, vocabSize));
        var random = new SplitMix64(seed);
        List<TensorToWrite> tensors = [];
        int hiddenSize = shape.HiddenSize;
        Add("model.embed_tokens.weight", Deviation, vocabSize, hiddenSize);
        for (int layer = 0; layer < shape.Layers; layer++)
        {
            string prefix = string.Create(CultureInfo.InvariantCulture, $"model.layers.{layer}.");
            double output = Deviation / Math.Sqrt(2 * shape.Layers);
            AddOnes(prefix + "input_layernorm.weight");
            Add(prefix + "self_attn.q_proj.weight", Deviation, shape.Heads * shape.HeadDim, hiddenSize);
            Add(prefix + "self_attn.k_proj.weight", Deviation, shape.KeyValueHeads * shape.HeadDim, hiddenSize);
            Add(prefix + "self_attn.v_proj.weight", Deviation, shape.KeyValueHeads * shape.HeadDim, hiddenSize);
            Add(prefix + "self_attn.o_proj.weight", output, hiddenSize, shape.Heads * shape.HeadDim);
            AddOnes(prefix + "post_attention_layernorm.weight");
            Add(prefix + "mlp.gate_proj.weight", Deviation, shape.IntermediateSize, hiddenSize);
            Add(prefix + "mlp.up_proj.weight", Deviation, shape.IntermediateSize, hiddenSize);
            Add(prefix + "mlp.down_proj.weight", output, hiddenSize, shape.IntermediateSize);
        }

        AddOnes("model.norm.weight");
        using FileStream stream = File.Create(Path.Combine(directory, "model.safetensors"));
        SafetensorsWriter.Write(stream, tensors);

        void Add(string name, double deviation, int rows, int columns)
        {
            var values = new float[rows * columns];
            for (int i = 0; i < values.Length; i++) values[i] = (float)(deviation * Normal(ref random));
            tensors.Add(Tensor(name, values, rows, columns));
        }

        void AddOnes(string name)
        {
            var ones = new float[hiddenSize];
            Array.Fill(ones, 1f);
            tensors.Add(Tensor(name, ones, hiddenSize));
        }
    }

    private static TensorToWrite Tensor(string name, float[] values, params long[] shape) => new(name, ElementType.BF16, shape, stream =>
    {
        var bits = new ushort[values.Length];
        FloatConversion.FromF32(MemoryMarshal.AsBytes(bits.AsSpan()), values, ElementType.BF16);
        stream.Write(MemoryMarshal.AsBytes(bits.AsSpan()));
    });

    /// <summary>Nearly normal, of variance 1: twelve uniform numbers added up, which is the same to the bit on every platform.</summary>
    private static double Normal(ref SplitMix64 random)
    {
        double sum = -6;
        for (int i = 0; i < 12; i++) sum += random.NextUnit();
        return sum;
    }

    private static void WriteConfig(Utf8JsonWriter json, RandomModelShape shape, int vocabSize)
    {
        json.WriteStartArray("architectures");
        json.WriteStringValue("LlamaForCausalLM");
        json.WriteEndArray();
        json.WriteString("model_type", "llama");
        json.WriteNumber("vocab_size", vocabSize);
        json.WriteNumber("hidden_size", shape.HiddenSize);
        json.WriteNumber("intermediate_size", shape.IntermediateSize);
        json.WriteNumber("num_hidden_layers", shape.Layers);
        json.WriteNumber("num_attention_heads", shape.Heads);
        json.WriteNumber("num_key_value_heads", shape.KeyValueHeads);
        json.WriteNumber("head_dim", shape.HeadDim);
        json.WriteString("hidden_act", "silu");
        json.WriteNumber("max_position_embeddings", shape.ContextLength);
        json.WriteNumber("rms_norm_eps", 1e-5);
        json.WriteNumber("rope_theta", 10000.0);
        json.WriteBoolean("tie_word_embeddings", true);
        json.WriteBoolean("attention_bias", false);
        json.WriteBoolean("mlp_bias", false);
        json.WriteStartArray("eos_token_id"); // the end of a text, the end of a turn
        json.WriteNumberValue(0);
        json.WriteNumberValue(2);
        json.WriteEndArray();
        json.WriteString("torch_dtype", "bfloat16");
    }
}
