using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using FineTuneCore.Files;

namespace FineTuneCore.Benchmarks.Measuring;

/// <summary>
/// The frozen weights of the step as a model directory, so that they reach the trainer on the road every model takes: a mapped file. Made once, as
/// the numbers never change; fp32 or rounded to bf16.
/// </summary>
internal static class StepCheckpoint
{
    /// <summary>The directory with these weights, written first where it is missing.</summary>
    internal static string Directory(string root, bool bf16)
    {
        string directory = Path.Combine(root, $"lora-step-{(bf16 ? "bf16" : "fp32")}");
        if (!System.IO.Directory.Exists(directory)) AtomicFile.WriteDirectory(directory, path => Write(path, bf16 ? ElementType.BF16 : ElementType.F32));
        return directory;
    }

    private static void Write(string directory, ElementType type)
    {
        var config = new JsonObject
        {
            ["model_type"] = "llama", ["hidden_size"] = LoraStep.HiddenSize, ["intermediate_size"] = LoraStep.IntermediateSize,
            ["num_hidden_layers"] = LoraStep.Layers, ["num_attention_heads"] = LoraStep.Heads, ["num_key_value_heads"] = LoraStep.KeyValueHeads,
            ["head_dim"] = LoraStep.HeadDim, ["vocab_size"] = LoraStep.VocabSize, ["max_position_embeddings"] = LoraStep.SequenceLength,
            ["rms_norm_eps"] = LoraStep.RmsNormEps, ["rope_theta"] = LoraStep.RopeTheta, ["tie_word_embeddings"] = false, ["hidden_act"] = "silu",
        };
        File.WriteAllText(Path.Combine(directory, "config.json"), config.ToJsonString());
        using FileStream stream = File.Create(Path.Combine(directory, "model.safetensors"));
        SafetensorsWriter.Write(stream, [.. LoraStep.Matrices().Select(m => Matrix(m, type)), .. Norms().Select(name => Norm(name, type))]);
        stream.Flush(flushToDisk: true); // nothing is left for the system to write while steps are timed
    }

    private static IEnumerable<string> Norms()
    {
        for (int layer = 0; layer < LoraStep.Layers; layer++)
        {
            yield return $"model.layers.{layer}.input_layernorm";
            yield return $"model.layers.{layer}.post_attention_layernorm";
        }

        yield return "model.norm";
    }

    private static TensorToWrite Matrix(StepMatrix matrix, ElementType type) =>
        new($"{matrix.Module}.weight", type, [matrix.Rows, matrix.Columns], stream => Write(stream, LoraStep.Weight(in matrix), type));

    private static TensorToWrite Norm(string name, ElementType type) =>
        new($"{name}.weight", type, [LoraStep.HiddenSize], stream => Write(stream, [.. Enumerable.Repeat(1f, LoraStep.HiddenSize)], type));

    private static void Write(Stream stream, float[] values, ElementType type)
    {
        if (type == ElementType.F32)
        {
            stream.Write(MemoryMarshal.AsBytes(values.AsSpan()));
            return;
        }

        var bytes = new byte[values.Length * type.Size()];
        FloatConversion.FromF32(bytes, values, type);
        stream.Write(bytes);
    }
}
