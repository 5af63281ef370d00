using System.Text;
using System.Text.Json;

namespace FineTuneCore.Tests.Tokenization;

/// <summary>Writes tokenizer files from the vocabularies of GGUF files.</summary>
internal static class VocabularyFiles
{
    /// <summary>A byte-level tokenizer.json as GPT-2's is; merges as "a b", or as pairs.</summary>
    public static void WriteByteLevelJson(string gguf, string directory, bool pairs = false)
    {
        Dictionary<string, object> metadata = GgufMetadata.Read(gguf);
        var tokens = (object[])metadata["tokenizer.ggml.tokens"];
        var merges = (object[])metadata["tokenizer.ggml.merges"];
        using FileStream file = File.Create(Path.Combine(directory, "tokenizer.json"));
        using var writer = new Utf8JsonWriter(file);
        writer.WriteStartObject();
        writer.WriteStartArray("added_tokens");
        writer.WriteRawValue($$"""{"id": {{tokens.Length - 1}}, "content": "<|endoftext|>", "special": true, "normalized": true, "lstrip": false, "rstrip": false, "single_word": false}""");
        writer.WriteEndArray();
        writer.WriteNull("normalizer");
        writer.WritePropertyName("pre_tokenizer");
        writer.WriteRawValue("""{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}""");
        writer.WritePropertyName("post_processor");
        writer.WriteRawValue("""{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false}""");
        writer.WritePropertyName("decoder");
        writer.WriteRawValue("""{"type": "ByteLevel"}""");
        writer.WriteStartObject("model");
        writer.WriteString("type", "BPE");
        writer.WriteStartObject("vocab");
        for (int id = 0; id < tokens.Length; id++)
            writer.WriteNumber((string)tokens[id], id);
        writer.WriteEndObject();
        writer.WriteStartArray("merges");
        foreach (string merge in merges.Cast<string>())
        {
            if (!pairs)
            {
                writer.WriteStringValue(merge);
                continue;
            }
            writer.WriteStartArray();
            foreach (string part in merge.Split(' '))
                writer.WriteStringValue(part);
            writer.WriteEndArray();
        }
        writer.WriteEndArray();
        writer.WriteEndObject();
        writer.WriteEndObject();
    }

    /// <summary>A SentencePiece BPE model with Llama 2's normaliser (a dummy prefix, nothing removed).</summary>
    public static void WriteSentencePiece(string gguf, string directory)
    {
        Dictionary<string, object> metadata = GgufMetadata.Read(gguf);
        var tokens = (object[])metadata["tokenizer.ggml.tokens"];
        var scores = (object[])metadata["tokenizer.ggml.scores"];
        var types = (object[])metadata["tokenizer.ggml.token_type"];
        var model = new List<byte>();
        for (int id = 0; id < tokens.Length; id++)
        {
            var piece = new List<byte>();
            AppendBytes(piece, 1, Encoding.UTF8.GetBytes((string)tokens[id]));
            piece.Add((2 << 3) | 5);
            piece.AddRange(BitConverter.GetBytes((float)scores[id]));
            AppendNumber(piece, 3, Convert.ToUInt64(types[id]));
            AppendBytes(model, 1, [.. piece]);
        }
        var trainer = new List<byte>();
        AppendNumber(trainer, 3, 2); // BPE
        AppendNumber(trainer, 35, 1); // byte_fallback
        AppendBytes(model, 2, [.. trainer]);
        var normalizer = new List<byte>();
        AppendNumber(normalizer, 3, 1); // add_dummy_prefix
        AppendNumber(normalizer, 4, 0); // remove_extra_whitespaces
        AppendNumber(normalizer, 5, 1); // escape_whitespaces
        AppendBytes(model, 3, [.. normalizer]);
        File.WriteAllBytes(Path.Combine(directory, "tokenizer.model"), [.. model]);
    }

    private static void AppendNumber(List<byte> message, int field, ulong value)
    {
        AppendVarint(message, (ulong)(field << 3));
        AppendVarint(message, value);
    }

    private static void AppendBytes(List<byte> message, int field, byte[] value)
    {
        AppendVarint(message, (ulong)((field << 3) | 2));
        AppendVarint(message, (ulong)value.Length);
        message.AddRange(value);
    }

    private static void AppendVarint(List<byte> message, ulong value)
    {
        for (; value >= 0x80; value >>= 7)
            message.Add((byte)(value | 0x80));
        message.Add((byte)value);
    }
}
