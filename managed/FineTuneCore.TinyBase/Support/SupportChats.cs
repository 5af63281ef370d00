using System.Text.Encodings.Web;
using System.Text.Json;

namespace FineTuneCore.TinyBase.Support;

/// <summary>The chats that <c>ftc quickstart</c> trains on and the ones it holds out: the same answers, other questions.</summary>
internal static class SupportChats
{
    private const ulong Seed = 7;
    private static readonly string[] s_openings = ["Hi! ", "Hello. ", "Good morning! ", "I have a Fernwell F3. ", "A question: ", "Please help me. "];

    /// <summary>Writes support_chats.jsonl and support_chats_heldout.jsonl.</summary>
    internal static void Write(string directory)
    {
        List<(string Question, string Answer)> training = [], heldOut = [];
        var random = new SplitMix64(Seed);
        string answer = "";
        foreach (string line in Lines())
        {
            string text = line[1..].Trim();
            switch (line[0])
            {
                case '>':
                    answer = text;
                    break;
                case '?':
                    training.Add((text, answer));
                    training.Add((s_openings[random.NextBelow(s_openings.Length)] + text, answer));
                    break;
                case '!':
                    heldOut.Add((text, answer));
                    break;
                default:
                    throw new FormatException($"intents.txt: '{line}' begins with none of > ? ! #");
            }
        }

        WriteRows(Path.Combine(directory, "support_chats.jsonl"), training);
        WriteRows(Path.Combine(directory, "support_chats_heldout.jsonl"), heldOut);
    }

    private static IEnumerable<string> Lines()
    {
        using var reader = new StreamReader(typeof(SupportChats).Assembly.GetManifestResourceStream("intents")!);
        return reader.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Where(l => l[0] != '#');
    }

    private static void WriteRows(string path, List<(string Question, string Answer)> chats)
    {
        using FileStream stream = File.Create(path);
        foreach ((string question, string answer) in chats)
        {
            using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            {
                json.WriteStartObject();
                json.WriteStartArray("messages");
                WriteMessage(json, "user", question);
                WriteMessage(json, "assistant", answer);
                json.WriteEndArray();
                json.WriteEndObject();
            }

            stream.WriteByte((byte)'\n');
        }
    }

    private static void WriteMessage(Utf8JsonWriter json, string role, string content)
    {
        json.WriteStartObject();
        json.WriteString("role", role);
        json.WriteString("content", content);
        json.WriteEndObject();
    }
}
