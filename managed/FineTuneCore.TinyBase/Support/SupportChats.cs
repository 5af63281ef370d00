using System.Text.Encodings.Web;
using System.Text.Json;

namespace FineTuneCore.TinyBase.Support;

/// <summary>The chats that <c>ftc quickstart</c> trains on and the ones it holds out: the same answers, other questions.</summary>
internal static class SupportChats
{
    private const ulong Seed = 7;
    private const int MostTurns = 4;
    private static readonly string[] s_openings = ["Hi! ", "Hello. ", "Good morning! ", "I have a Fernwell F3. ", "A question: ", "Please help me. "];

    /// <summary>Writes support_chats.jsonl and support_chats_heldout.jsonl.</summary>
    internal static void Write(string directory)
    {
        List<Turn> training = [], heldOut = [];
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
                    training.Add(new Turn(text, answer));
                    break;
                case '!':
                    heldOut.Add(new Turn(text, answer));
                    break;
                default:
                    throw new FormatException($"intents.txt: '{line}' begins with none of > ? ! #");
            }
        }

        WriteRows(Path.Combine(directory, "support_chats.jsonl"), [.. training.Select(t => new[] { t }), .. Conversations(training)]);
        WriteRows(Path.Combine(directory, "support_chats_heldout.jsonl"), heldOut.Select(t => new[] { t }));
    }

    /// <summary>Every question twice more, one to four of them in a chat that begins with an opening.</summary>
    private static List<Turn[]> Conversations(List<Turn> turns)
    {
        var random = new SplitMix64(Seed);
        Turn[] rest = [.. Shuffled(turns, ref random), .. Shuffled(turns, ref random)];

        var chats = new List<Turn[]>();
        for (int at = 0; at < rest.Length;)
        {
            Turn[] chat = rest[at..Math.Min(rest.Length, at + 1 + random.NextBelow(MostTurns))];
            at += chat.Length;
            chat[0] = chat[0] with { Question = s_openings[random.NextBelow(s_openings.Length)] + chat[0].Question };
            chats.Add(chat);
        }

        return chats;
    }

    private static Turn[] Shuffled(List<Turn> turns, ref SplitMix64 random)
    {
        Turn[] shuffled = [.. turns];
        for (int i = shuffled.Length - 1; i > 0; i--)
        {
            int other = random.NextBelow(i + 1);
            (shuffled[i], shuffled[other]) = (shuffled[other], shuffled[i]);
        }

        return shuffled;
    }

    private static IEnumerable<string> Lines()
    {
        using var reader = new StreamReader(typeof(SupportChats).Assembly.GetManifestResourceStream("intents")!);
        return reader.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Where(l => l[0] != '#');
    }

    private static void WriteRows(string path, IEnumerable<Turn[]> chats)
    {
        using FileStream stream = File.Create(path);
        foreach (Turn[] chat in chats)
        {
            using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            {
                json.WriteStartObject();
                json.WriteStartArray("messages");
                foreach (Turn turn in chat)
                {
                    WriteMessage(json, "user", turn.Question);
                    WriteMessage(json, "assistant", turn.Answer);
                }

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

    private sealed record Turn(string Question, string Answer);
}
