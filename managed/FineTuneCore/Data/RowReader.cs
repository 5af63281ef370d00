using System.Text.Json;

namespace FineTuneCore.Data;

/// <summary>Makes an example of one JSON row, whatever format it is in.</summary>
internal static class RowReader
{
    private const string Expected =
        "messages (chat), prompt and completion, text, instruction and output (Alpaca), or conversations (ShareGPT)";

    /// <exception cref="DataException">The row is of no known format, or breaks the rules of its own.</exception>
    public static Example Read(JsonElement row, SourceLocation source)
    {
        if (row.ValueKind != JsonValueKind.Object)
            throw Wrong(source, $"the row is {Kind(row)}, expected an object with {Expected}");
        if (row.TryGetProperty("messages", out JsonElement messages))
            return ChatRows.FromMessages(row, messages, source);
        if (row.TryGetProperty("conversations", out JsonElement conversations))
            return ChatRows.FromShareGpt(row, conversations, source);
        if (row.TryGetProperty("prompt", out JsonElement prompt) && row.TryGetProperty("completion", out JsonElement completion))
            return prompt.ValueKind == JsonValueKind.Array || completion.ValueKind == JsonValueKind.Array
                ? ChatRows.FromPromptAndCompletion(row, prompt, completion, source)
                : Completion(Text(prompt, "prompt", source), Text(completion, "completion", source), source);
        if (row.TryGetProperty("instruction", out JsonElement instruction) && row.TryGetProperty("output", out JsonElement output))
            return ChatRows.FromAlpaca(row, instruction, output, source);
        if (row.TryGetProperty("text", out JsonElement text))
            return new TextExample(ExampleFormat.Text, source, Content(Text(text, "text", source), "text", source));
        string keys = string.Join(", ", row.EnumerateObject().Take(8).Select(member => member.Name));
        throw Wrong(source, $"the row has {(keys.Length == 0 ? "no keys" : "the keys " + keys)}, expected {Expected}; rename or convert them");
    }

    public static string Text(JsonElement value, string name, SourceLocation source)
    {
        if (value.ValueKind != JsonValueKind.String)
            throw Wrong(source, $"{name} is {Kind(value)}, expected a string");
        string text;
        try
        {
            text = value.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw new DataException($"{source}: {name} has an escape of half a surrogate pair, which is no character; write the pair or the character itself", e);
        }
        int nul = text.IndexOf('\0');
        return nul < 0 ? text : throw Wrong(source, $"{name} has a NUL character at position {nul}, which is no text; remove it");
    }

    public static DataException Wrong(SourceLocation source, string what) => new($"{source}: {what}");

    public static string Kind(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "a list",
        JsonValueKind.String => "a string",
        JsonValueKind.Number => $"the number {value.GetRawText()}",
        JsonValueKind.True => "true",
        JsonValueKind.False => "false",
        JsonValueKind.Null => "null",
        _ => "missing",
    };

    private static CompletionExample Completion(string prompt, string completion, SourceLocation source) =>
        new(source, prompt, Content(completion, "completion", source));

    private static string Content(string text, string name, SourceLocation source) =>
        text.Length > 0 ? text : throw Wrong(source, $"{name} is empty, so there is nothing to learn; fill it or remove the row");
}
