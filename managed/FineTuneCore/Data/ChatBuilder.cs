using System.Text.Json;

namespace FineTuneCore.Data;

/// <summary>
/// Collects the messages of one conversation, checks them and writes them as templates take them: content as one string, arguments of tool
/// calls as objects rather than JSON inside a string, <c>function</c> turns as <c>tool</c>, and no <c>weight</c>.
/// </summary>
internal sealed class ChatBuilder(SourceLocation source)
{
    private readonly List<JsonElement> _messages = [];
    private readonly List<bool> _trained = [];
    private bool _hasAssistant;

    public void AddAll(JsonElement messages, string name, bool trained)
    {
        if (messages.ValueKind != JsonValueKind.Array)
            throw Wrong($"{name} is {RowReader.Kind(messages)}, expected a list of messages");
        int i = 0;
        foreach (JsonElement message in messages.EnumerateArray())
            Add(message, $"{name}[{i++}]", trained);
    }

    public void Add(string role, string content, bool trained)
    {
        if (role == "assistant")
            CheckAnswer(content, false, $"the answer in turn {_messages.Count + 1}");
        Append(role, trained, content, null);
    }

    public ChatExample Build(ExampleFormat format, JsonElement? tools)
    {
        if (_messages.Count == 0)
            throw Wrong("the conversation has no messages; fill it or remove the row");
        if (!_hasAssistant)
            throw Wrong("the conversation has no assistant turn, so there is nothing to learn; add an answer or remove the row");
        if (!_trained.Contains(true))
            throw Wrong("every assistant turn has weight 0, so there is nothing to learn; give one of them weight 1 or remove the row");
        return new ChatExample(format, source, _messages, _trained, tools);
    }

    private void Add(JsonElement message, string name, bool trained)
    {
        if (message.ValueKind != JsonValueKind.Object)
            throw Wrong($"{name} is {RowReader.Kind(message)}, expected an object with role and content");
        if (!message.TryGetProperty("role", out JsonElement roleValue))
            throw Wrong($"{name} has no role; expected system, developer, user, assistant or tool");
        string role = RowReader.Text(roleValue, $"{name}.role", source);
        if (role is not ("system" or "developer" or "user" or "assistant" or "tool" or "function"))
            throw Wrong($"{name}.role is {role}; expected system, developer, user, assistant, tool or function");
        string? content = Content(message, name);
        bool calls = message.TryGetProperty("tool_calls", out JsonElement toolCalls)
            && toolCalls.ValueKind == JsonValueKind.Array && toolCalls.GetArrayLength() > 0
            || message.TryGetProperty("function_call", out JsonElement call) && call.ValueKind == JsonValueKind.Object;
        bool weight = Weight(message, role, name);
        if (role == "assistant")
            CheckAnswer(content, calls, name);
        else if (content is null)
            throw Wrong($"{name} ({role}) has no content; expected a string or a list of text parts");
        // Templates ask for the content of a tool call too; they take an empty string as well as none.
        Append(role == "function" ? "tool" : role, trained && weight, content ?? "", message);
    }

    private void CheckAnswer(string? content, bool calls, string name)
    {
        _hasAssistant = true;
        if (string.IsNullOrWhiteSpace(content) && !calls)
            throw Wrong($"{name} is an assistant turn that is empty, so there is nothing to learn from it; write the answer, or remove the turn or the row");
    }

    private string? Content(JsonElement message, string name)
    {
        if (!message.TryGetProperty("content", out JsonElement content) || content.ValueKind == JsonValueKind.Null)
            return null;
        if (content.ValueKind != JsonValueKind.Array)
            return RowReader.Text(content, $"{name}.content", source);
        string text = "";
        int i = 0;
        foreach (JsonElement part in content.EnumerateArray())
        {
            string place = $"{name}.content[{i++}]";
            if (part.ValueKind != JsonValueKind.Object || !part.TryGetProperty("type", out JsonElement type))
                throw Wrong($"{place} is {RowReader.Kind(part)}, expected an object with type and text");
            if (type.ValueKind != JsonValueKind.String || type.GetString() is not ("text" or "input_text" or "output_text")
                || !part.TryGetProperty("text", out JsonElement value))
                throw Wrong($"{place} is of type {type.GetRawText()}; only text can be trained on, remove the part or the row");
            text += RowReader.Text(value, $"{place}.text", source);
        }
        return text;
    }

    private bool Weight(JsonElement message, string role, string name)
    {
        bool given = message.TryGetProperty("weight", out JsonElement weight) && weight.ValueKind != JsonValueKind.Null;
        if (!given)
            return role == "assistant";
        if (role != "assistant")
            throw Wrong($"{name} ({role}) has a weight; only assistant turns have one, remove it");
        if (weight.ValueKind == JsonValueKind.Number && weight.TryGetDouble(out double value) && value is 0 or 1)
            return value == 1;
        throw Wrong($"{name}.weight is {RowReader.Kind(weight)}, expected 0 (not trained) or 1 (trained)");
    }

    private void Append(string role, bool trained, string content, JsonElement? rest)
    {
        _messages.Add(JsonValues.Build(writer =>
        {
            writer.WriteStartObject();
            writer.WriteString("role", role);
            writer.WriteString("content", content);
            if (rest is { } message)
                WriteRest(writer, message);
            writer.WriteEndObject();
        }));
        _trained.Add(trained && role == "assistant");
        _hasAssistant |= role == "assistant";
    }

    private void WriteRest(Utf8JsonWriter writer, JsonElement message)
    {
        foreach (JsonProperty member in message.EnumerateObject())
        {
            switch (member.Name)
            {
                case "role" or "content" or "weight":
                    break;
                case "tool_calls" when member.Value.ValueKind == JsonValueKind.Array:
                    writer.WriteStartArray("tool_calls");
                    foreach (JsonElement call in member.Value.EnumerateArray())
                        WriteCall(writer, call);
                    writer.WriteEndArray();
                    break;
                case "function_call" when member.Value.ValueKind == JsonValueKind.Object:
                    writer.WriteStartArray("tool_calls");
                    writer.WriteStartObject();
                    writer.WriteString("type", "function");
                    writer.WritePropertyName("function");
                    WriteCall(writer, member.Value);
                    writer.WriteEndObject();
                    writer.WriteEndArray();
                    break;
                default:
                    member.WriteTo(writer);
                    break;
            }
        }
    }

    // A tool call, or the function of one: arguments that are JSON in a string are written as the value they stand for.
    private void WriteCall(Utf8JsonWriter writer, JsonElement call)
    {
        if (call.ValueKind != JsonValueKind.Object)
            throw Wrong($"a tool call is {RowReader.Kind(call)}, expected an object with function");
        writer.WriteStartObject();
        foreach (JsonProperty member in call.EnumerateObject())
        {
            writer.WritePropertyName(member.Name);
            if (member.Name == "function" && member.Value.ValueKind == JsonValueKind.Object)
                WriteCall(writer, member.Value);
            else if (member.Name == "arguments" && member.Value.ValueKind == JsonValueKind.String)
                WriteArguments(writer, member.Value);
            else
                member.Value.WriteTo(writer);
        }
        writer.WriteEndObject();
    }

    private static void WriteArguments(Utf8JsonWriter writer, JsonElement arguments)
    {
        try
        {
            using JsonDocument parsed = JsonDocument.Parse(arguments.GetString()!);
            parsed.RootElement.WriteTo(writer);
        }
        catch (JsonException)
        {
            arguments.WriteTo(writer);
        }
    }

    private DataException Wrong(string what) => RowReader.Wrong(source, what);
}
