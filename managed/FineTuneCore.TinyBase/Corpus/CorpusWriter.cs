using System.Text;
using System.Text.Json;
using FineTuneCore.Tokenization;

namespace FineTuneCore.TinyBase.Corpus;

/// <summary>The text the tiny base model learns English from: stories, facts, instructions and small talk, the same for the same seed.</summary>
internal static class CorpusWriter
{
    /// <summary>Documents as they are trained on; chats are written out in <see cref="TinyTokenizer"/>'s format.</summary>
    internal static IEnumerable<string> Documents(int count, ulong seed, string rule = "document")
    {
        Grammar grammar = Grammar.LoadAll();
        var random = new SplitMix64(seed);
        for (int i = 0; i < count; i++) yield return Rendered(grammar.Write(rule, ref random));
    }

    /// <summary>Writes rows {"text": …}.</summary>
    internal static void WriteJsonLines(string path, IEnumerable<string> documents)
    {
        using FileStream stream = File.Create(path);
        foreach (string document in documents)
        {
            using (var json = new Utf8JsonWriter(stream))
            {
                json.WriteStartObject();
                json.WriteString("text", document);
                json.WriteEndObject();
            }

            stream.WriteByte((byte)'\n');
        }
    }

    /// <summary>Turns marked [s], [q] and [a] become turns of system, user and assistant.</summary>
    private static string Rendered(string text)
    {
        if (!text.StartsWith('[')) return text;
        var chat = new StringBuilder();
        foreach (string turn in text.Split('[', StringSplitOptions.RemoveEmptyEntries))
        {
            string role = turn[0] switch
            {
                's' => "system",
                'q' => "user",
                'a' => "assistant",
                _ => throw new FormatException($"'[{turn}' begins no turn, expected [s], [q] or [a]"),
            };
            chat.Append(ChatMlTokenizer.TurnStart).Append(role).Append('\n').Append(turn[2..].Trim()).Append(ChatMlTokenizer.TurnEnd).Append('\n');
        }

        return chat.ToString();
    }
}
