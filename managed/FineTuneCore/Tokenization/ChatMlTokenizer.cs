using System.Text.Encodings.Web;
using System.Text.Json;
using FineTuneCore.Tokenization.Engine;

namespace FineTuneCore.Tokenization;

/// <summary>
/// Writes the tokenizer of models that begin here: byte-level BPE over the merges it is given, digits one by one, and a ChatML template.
/// </summary>
internal static class ChatMlTokenizer
{
    internal const string TextEnd = "<|endoftext|>";
    internal const string TurnStart = "<|im_start|>";
    internal const string TurnEnd = "<|im_end|>";
    internal const string ChatTemplate =
        "{%- for message in messages %}"
        + "{{- '" + TurnStart + "' + message.role + '\\n' + message.content + '" + TurnEnd + "\\n' }}"
        + "{%- endfor %}"
        + "{%- if add_generation_prompt %}{{- '" + TurnStart + "assistant\\n' }}{%- endif %}";

    private static readonly string[] s_special = [TextEnd, TurnStart, TurnEnd]; // ids 0, 1, 2

    internal static IReadOnlyList<string> SpecialTokens => s_special;

    /// <summary>Special tokens, bytes, then what the merges make, in the order of their ids.</summary>
    internal static string[] Vocabulary(IReadOnlyList<(string Left, string Right)> merges) =>
    [
        .. s_special, .. Enumerable.Range(0, 256).Select(b => ByteAlphabet.ToCharacter((byte)b).ToString()).Order(StringComparer.Ordinal),
        .. merges.Select(m => m.Left + m.Right),
    ];

    /// <summary>Writes tokenizer.json and tokenizer_config.json.</summary>
    internal static void Write(string directory, IReadOnlyList<(string Left, string Right)> merges, int contextLength)
    {
        WriteJson(Path.Combine(directory, "tokenizer.json"), json => WriteTokenizer(json, Vocabulary(merges), merges));
        WriteJson(Path.Combine(directory, "tokenizer_config.json"), json => WriteConfig(json, contextLength));
    }

    private static void WriteTokenizer(Utf8JsonWriter json, string[] vocabulary, IReadOnlyList<(string Left, string Right)> merges)
    {
        json.WriteString("version", "1.0");
        json.WriteNull("truncation");
        json.WriteNull("padding");
        json.WriteStartArray("added_tokens");
        for (int id = 0; id < s_special.Length; id++)
        {
            json.WriteStartObject();
            json.WriteNumber("id", id);
            json.WriteString("content", s_special[id]);
            foreach (string flag in (string[])["single_word", "lstrip", "rstrip", "normalized"]) json.WriteBoolean(flag, false);
            json.WriteBoolean("special", true);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteNull("normalizer");
        json.WriteStartObject("pre_tokenizer");
        json.WriteString("type", "Sequence");
        json.WriteStartArray("pretokenizers");
        json.WriteStartObject();
        json.WriteString("type", "Digits");
        json.WriteBoolean("individual_digits", true);
        json.WriteEndObject();
        WriteByteLevel(json, null);
        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteNull("post_processor");
        WriteByteLevel(json, "decoder");
        json.WriteStartObject("model");
        json.WriteString("type", "BPE");
        json.WriteStartObject("vocab");
        for (int id = 0; id < vocabulary.Length; id++) json.WriteNumber(vocabulary[id], id);
        json.WriteEndObject();
        json.WriteStartArray("merges");
        foreach ((string left, string right) in merges) json.WriteStringValue($"{left} {right}");
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteByteLevel(Utf8JsonWriter json, string? name)
    {
        if (name is null) json.WriteStartObject();
        else json.WriteStartObject(name);
        json.WriteString("type", "ByteLevel");
        json.WriteBoolean("add_prefix_space", false);
        json.WriteBoolean("trim_offsets", false);
        json.WriteBoolean("use_regex", true);
        json.WriteEndObject();
    }

    private static void WriteConfig(Utf8JsonWriter json, int contextLength)
    {
        json.WriteString("tokenizer_class", "PreTrainedTokenizerFast");
        json.WriteString("eos_token", TextEnd);
        json.WriteString("pad_token", TextEnd);
        json.WriteNumber("model_max_length", contextLength);
        json.WriteBoolean("clean_up_tokenization_spaces", false);
        json.WriteString("chat_template", ChatTemplate);
    }

    /// <summary>One JSON object as a file, indented, with LF ends on every system.</summary>
    internal static void WriteJson(string path, Action<Utf8JsonWriter> content)
    {
        using FileStream stream = File.Create(path);
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            content(json);
            json.WriteEndObject();
        }

        stream.WriteByte((byte)'\n');
    }
}
