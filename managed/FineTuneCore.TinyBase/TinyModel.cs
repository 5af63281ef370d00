using System.Globalization;
using System.Runtime.InteropServices;
using FineTuneCore.Files;

namespace FineTuneCore.TinyBase;

/// <summary>Shape and first weights of the tiny base model: a Llama of 3.3 million parameters, head tied to the embedding.</summary>
internal static class TinyModel
{
    internal const int VocabSize = 2048;
    internal const int Context = 512;
    private const int HiddenSize = 256, IntermediateSize = 640, Layers = 4, Heads = 8, KeyValueHeads = 4, HeadDim = 32;
    private const double Deviation = 0.02; // Radford et al. 2019; outputs of a block by 1/sqrt(2 layers) smaller

    /// <summary>Writes config.json and random weights in bf16.</summary>
    internal static void WriteRandom(string directory, ulong seed)
    {
        TinyTokenizer.Write(Path.Combine(directory, "config.json"), WriteConfig);
        var random = new SplitMix64(seed);
        List<TensorToWrite> tensors = [];
        Add("model.embed_tokens.weight", Deviation, VocabSize, HiddenSize);
        for (int layer = 0; layer < Layers; layer++)
        {
            string prefix = string.Create(CultureInfo.InvariantCulture, $"model.layers.{layer}.");
            double output = Deviation / Math.Sqrt(2 * Layers);
            AddOnes(prefix + "input_layernorm.weight");
            Add(prefix + "self_attn.q_proj.weight", Deviation, Heads * HeadDim, HiddenSize);
            Add(prefix + "self_attn.k_proj.weight", Deviation, KeyValueHeads * HeadDim, HiddenSize);
            Add(prefix + "self_attn.v_proj.weight", Deviation, KeyValueHeads * HeadDim, HiddenSize);
            Add(prefix + "self_attn.o_proj.weight", output, HiddenSize, Heads * HeadDim);
            AddOnes(prefix + "post_attention_layernorm.weight");
            Add(prefix + "mlp.gate_proj.weight", Deviation, IntermediateSize, HiddenSize);
            Add(prefix + "mlp.up_proj.weight", Deviation, IntermediateSize, HiddenSize);
            Add(prefix + "mlp.down_proj.weight", output, HiddenSize, IntermediateSize);
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
            var ones = new float[HiddenSize];
            Array.Fill(ones, 1f);
            tensors.Add(Tensor(name, ones, HiddenSize));
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

    private static void WriteConfig(System.Text.Json.Utf8JsonWriter json)
    {
        json.WriteStartArray("architectures");
        json.WriteStringValue("LlamaForCausalLM");
        json.WriteEndArray();
        json.WriteString("model_type", "llama");
        json.WriteNumber("vocab_size", VocabSize);
        json.WriteNumber("hidden_size", HiddenSize);
        json.WriteNumber("intermediate_size", IntermediateSize);
        json.WriteNumber("num_hidden_layers", Layers);
        json.WriteNumber("num_attention_heads", Heads);
        json.WriteNumber("num_key_value_heads", KeyValueHeads);
        json.WriteNumber("head_dim", HeadDim);
        json.WriteString("hidden_act", "silu");
        json.WriteNumber("max_position_embeddings", Context);
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
