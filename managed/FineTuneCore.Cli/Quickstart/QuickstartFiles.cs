using System.Text.Json;

namespace FineTuneCore.Cli.Quickstart;

/// <summary>A question of the held-out chats and the answer its chat gives.</summary>
internal sealed record HeldOutChat(string Question, string Answer);

/// <summary>The base model and the chats that come along with the program.</summary>
internal static class QuickstartFiles
{
    private static readonly string s_root = Path.Combine(AppContext.BaseDirectory, "Quickstart");

    internal static string Model { get; } = Path.Combine(s_root, "tiny-base");

    internal static string Chats { get; } = Path.Combine(s_root, "data", "support_chats.jsonl");

    internal static string HeldOut { get; } = Path.Combine(s_root, "data", "support_chats_heldout.jsonl");

    /// <exception cref="FineTuneException">A file is missing.</exception>
    internal static void Check()
    {
        string[] files = [.. new[] { "config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors" }.Select(f => Path.Combine(Model, f)), Chats, HeldOut];
        if (files.FirstOrDefault(f => !File.Exists(f)) is { } missing)
            throw FineTuneException.Failed($"{missing} is missing, which comes along with ftc; install the tool again, or build it again from a whole checkout.");
    }

    /// <summary>The held-out chats: one question, one answer each.</summary>
    internal static List<HeldOutChat> ReadHeldOut()
    {
        var chats = new List<HeldOutChat>();
        foreach (string line in File.ReadLines(HeldOut))
        {
            using JsonDocument row = JsonDocument.Parse(line);
            JsonElement messages = row.RootElement.GetProperty("messages");
            chats.Add(new HeldOutChat(Content(messages[0]), Content(messages[1])));
        }

        return chats;
    }

    private static string Content(JsonElement message) => message.GetProperty("content").GetString()!;
}
