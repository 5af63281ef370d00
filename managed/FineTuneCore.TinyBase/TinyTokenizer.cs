using System.Text.Encodings.Web;
using System.Text.Json;
using FineTuneCore.TinyBase.Bpe;
using FineTuneCore.Tokenization.Engine;
using FineTuneCore.Tokenization.PreTokenizers;
using FineTuneCore.Tokenization.Regexes;

namespace FineTuneCore.TinyBase;

/// <summary>The tokenizer of the tiny base model: byte-level BPE, digits one by one, and its chat template.</summary>
internal static class TinyTokenizer
{
    internal const string TextEnd = "<|endoftext|>";
    internal const string TurnStart = "<|im_start|>";
    internal const string TurnEnd = "<|im_end|>";
    internal const string ChatTemplate =
        "{%- for message in messages %}"
        + "{{- '" + TurnStart + "' + message.role + '\\n' + message.content + '" + TurnEnd + "\\n' }}"
        + "{%- endfor %}"
        + "{%- if add_generation_prompt %}{{- '" + TurnStart + "assistant\\n' }}{%- endif %}";

    private const string Digit = @"\p{N}";
    private static readonly string[] s_special = [TextEnd, TurnStart, TurnEnd]; // ids 0, 1, 2

    /// <summary>Trains on texts and writes tokenizer.json and tokenizer_config.json.</summary>
    internal static void TrainAndWrite(string directory, IEnumerable<string> texts, int vocabSize)
    {
        string[] alphabet = [.. Enumerable.Range(0, 256).Select(b => ByteAlphabet.ToCharacter((byte)b).ToString()).Order(StringComparer.Ordinal)];
        List<(string Left, string Right)> merges = BpeTrainer.Train(Words(texts), vocabSize - s_special.Length - alphabet.Length);
        string[] vocabulary = [.. s_special, .. alphabet, .. merges.Select(m => m.Left + m.Right)];
        Write(Path.Combine(directory, "tokenizer.json"), json => WriteTokenizer(json, vocabulary, merges));
        Write(Path.Combine(directory, "tokenizer_config.json"), WriteConfig);
    }

    private static Dictionary<string, long> Words(IEnumerable<string> texts)
    {
        var digits = new SplitPreTokenizer(TextPattern.Regex(Digit), SplitBehavior.Isolated);
        var bytes = new ByteLevelPreTokenizer(addPrefixSpace: false, useRegex: true);
        var words = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (string part in texts.SelectMany(t => t.Split(s_special, StringSplitOptions.RemoveEmptyEntries)))
        {
            foreach (Piece piece in bytes.Apply(digits.Apply([new Piece(new AlignedText(part), 0, part.Length)])))
            {
                string word = piece.Span.ToString();
                words[word] = words.GetValueOrDefault(word) + 1;
            }
        }

        return words;
    }

    private static void WriteTokenizer(Utf8JsonWriter json, string[] vocabulary, List<(string Left, string Right)> merges)
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

    private static void WriteConfig(Utf8JsonWriter json)
    {
        json.WriteString("tokenizer_class", "PreTrainedTokenizerFast");
        json.WriteString("eos_token", TextEnd);
        json.WriteString("pad_token", TextEnd);
        json.WriteNumber("model_max_length", TinyModel.Context);
        json.WriteBoolean("clean_up_tokenization_spaces", false);
        json.WriteString("chat_template", ChatTemplate);
    }

    /// <summary>One JSON object as a file, indented, with LF ends on every system.</summary>
    internal static void Write(string path, Action<Utf8JsonWriter> content)
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
