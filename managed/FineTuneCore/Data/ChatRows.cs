using System.Text.Json;

namespace FineTuneCore.Data;

/// <summary>Makes conversations of the formats that have turns.</summary>
internal static class ChatRows
{
    public static ChatExample FromMessages(JsonElement row, JsonElement messages, SourceLocation source)
    {
        var chat = new ChatBuilder(source);
        chat.AddAll(messages, "messages", trained: true);
        return chat.Build(ExampleFormat.Messages, Tools(row, source));
    }

    public static ChatExample FromPromptAndCompletion(JsonElement row, JsonElement prompt, JsonElement completion, SourceLocation source)
    {
        var chat = new ChatBuilder(source);
        if (prompt.ValueKind == JsonValueKind.String)
            chat.Add("user", RowReader.Text(prompt, "prompt", source), trained: false);
        else
            chat.AddAll(prompt, "prompt", trained: false);
        if (completion.ValueKind == JsonValueKind.String)
            chat.Add("assistant", RowReader.Text(completion, "completion", source), trained: true);
        else
            chat.AddAll(completion, "completion", trained: true);
        return chat.Build(ExampleFormat.PromptCompletion, Tools(row, source));
    }

    public static ChatExample FromAlpaca(JsonElement row, JsonElement instruction, JsonElement output, SourceLocation source)
    {
        var chat = new ChatBuilder(source);
        if (row.TryGetProperty("system", out JsonElement system) && RowReader.Text(system, "system", source) is { Length: > 0 } text)
            chat.Add("system", text, trained: false);
        if (row.TryGetProperty("history", out JsonElement history) && history.ValueKind != JsonValueKind.Null)
            AddHistory(chat, history, source);
        string request = RowReader.Text(instruction, "instruction", source);
        if (row.TryGetProperty("input", out JsonElement input) && input.ValueKind != JsonValueKind.Null
            && RowReader.Text(input, "input", source) is { Length: > 0 } more)
            request = $"{request}\n{more}";
        chat.Add("user", request, trained: false);
        chat.Add("assistant", RowReader.Text(output, "output", source), trained: true);
        return chat.Build(ExampleFormat.Alpaca, null);
    }

    public static ChatExample FromShareGpt(JsonElement row, JsonElement conversations, SourceLocation source)
    {
        var chat = new ChatBuilder(source);
        if (conversations.ValueKind != JsonValueKind.Array)
            throw RowReader.Wrong(source, $"conversations is {RowReader.Kind(conversations)}, expected a list of objects with from and value");
        if (row.TryGetProperty("system", out JsonElement system) && system.ValueKind == JsonValueKind.String && system.GetString() is { Length: > 0 } text)
            chat.Add("system", text, trained: false);
        int i = 0;
        foreach (JsonElement turn in conversations.EnumerateArray())
        {
            if (turn.ValueKind != JsonValueKind.Object || !turn.TryGetProperty("from", out JsonElement from)
                || !turn.TryGetProperty("value", out JsonElement value))
                throw RowReader.Wrong(source, $"conversations[{i}] has no from and value; expected both in every turn");
            string speaker = RowReader.Text(from, $"conversations[{i}].from", source);
            string role = speaker switch
            {
                "human" or "user" => "user",
                "gpt" or "assistant" or "chatgpt" or "bing" or "bard" or "model" => "assistant",
                "system" => "system",
                "tool" or "observation" or "function_response" => "tool",
                _ => throw RowReader.Wrong(source, $"conversations[{i}].from is {speaker}, expected human, gpt, system or tool"),
            };
            chat.Add(role, RowReader.Text(value, $"conversations[{i}].value", source), trained: role == "assistant");
            i++;
        }
        return chat.Build(ExampleFormat.ShareGpt, Tools(row, source));
    }

    private static void AddHistory(ChatBuilder chat, JsonElement history, SourceLocation source)
    {
        if (history.ValueKind != JsonValueKind.Array)
            throw RowReader.Wrong(source, $"history is {RowReader.Kind(history)}, expected a list of pairs");
        int i = 0;
        foreach (JsonElement pair in history.EnumerateArray())
        {
            if (pair.ValueKind != JsonValueKind.Array || pair.GetArrayLength() != 2)
                throw RowReader.Wrong(source, $"history[{i}] is {RowReader.Kind(pair)}, expected a pair of request and answer");
            chat.Add("user", RowReader.Text(pair[0], $"history[{i}][0]", source), trained: false);
            chat.Add("assistant", RowReader.Text(pair[1], $"history[{i}][1]", source), trained: true);
            i++;
        }
    }

    // ShareGPT files often hold the tools as JSON inside a string.
    private static JsonElement? Tools(JsonElement row, SourceLocation source)
    {
        if (!row.TryGetProperty("tools", out JsonElement tools) || tools.ValueKind == JsonValueKind.Null)
            return null;
        if (tools.ValueKind == JsonValueKind.String)
        {
            if (tools.GetString() is not { Length: > 0 } text)
                return null;
            try
            {
                using JsonDocument document = JsonDocument.Parse(text);
                tools = document.RootElement.Clone();
            }
            catch (JsonException e)
            {
                throw new DataException($"{source}: tools is a string that is not JSON ({e.Message}); write the list itself", e);
            }
        }
        return tools.ValueKind == JsonValueKind.Array
            ? tools.Clone()
            : throw RowReader.Wrong(source, $"tools is {RowReader.Kind(tools)}, expected a list of tool descriptions");
    }
}
