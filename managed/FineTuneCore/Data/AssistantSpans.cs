using System.Text.Json;
using FineTuneCore.Tokenization;

namespace FineTuneCore.Data;

/// <summary>The part of a rendered conversation that one assistant turn wrote, the end of the turn included.</summary>
internal readonly record struct AssistantSpan(int Message, TextRange Range);

/// <summary>
/// Finds what the assistant says in a rendered conversation. Templates with {% generation %} blocks say so themselves. For others the
/// conversation is rendered up to the turn (with the generation prompt) and through the turn, and the difference is the span. Where a
/// template writes history differently from the last turn, the turn is rendered once more with a stand-in for its content, and the span is
/// where the two differ, with the end of the turn after it; failing that, the turn's own text is looked for.
/// </summary>
internal sealed class AssistantSpans(ChatTemplate template, IReadOnlyCollection<string> specialTokens)
{
    private const string StandIn = "\uE0F7\uE0F8\uE0F9";

    /// <param name="request">The whole conversation.</param>
    /// <param name="rendered">What it renders to.</param>
    /// <returns>One span for each assistant message, in order.</returns>
    /// <exception cref="ChatTemplateException">The template gives no way to tell.</exception>
    public List<AssistantSpan> Find(ChatRequest request, RenderedChat rendered)
    {
        JsonElement[] messages = [.. request.Messages.EnumerateArray()];
        int[] turns = [.. Enumerable.Range(0, messages.Length).Where(i => Role(messages[i]) == "assistant")];
        if (template.MarksGeneration)
        {
            if (rendered.Generated.Count == turns.Length)
                return [.. turns.Zip(rendered.Generated, (turn, range) => new AssistantSpan(turn, range))];
            throw new ChatTemplateException(
                $"chat template {template.Name}: {{% generation %}} marks {rendered.Generated.Count} parts of a conversation with {turns.Length} assistant turns; "
                + "mark exactly what the assistant says, or remove the marks");
        }
        var spans = new List<AssistantSpan>(turns.Length);
        foreach (int turn in turns)
        {
            TextRange range = ByPrefix(request, messages, turn, rendered.Text)
                ?? ByStandIn(request, messages, turn, rendered.Text)
                ?? ByOwnText(request, messages, turn, rendered.Text, spans.Count == 0 ? 0 : spans[^1].Range.End)
                ?? throw new ChatTemplateException(
                    $"chat template {template.Name}: cannot tell which part of the text is message {turn + 1} (assistant), because the template renders "
                    + "the conversation differently up to that turn; mark the assistant's part with {% generation %}, or use --chat-template");
            spans.Add(new AssistantSpan(turn, range));
        }
        return spans;
    }

    private TextRange? ByPrefix(ChatRequest request, JsonElement[] messages, int turn, string text)
    {
        string? before = TryRender(request, messages[..turn], addGenerationPrompt: true);
        string? through = turn == messages.Length - 1 ? text : TryRender(request, messages[..(turn + 1)], addGenerationPrompt: false);
        if (before is null || through is null || !text.StartsWith(before, StringComparison.Ordinal) || !through.StartsWith(before, StringComparison.Ordinal))
            return null;
        int end = CommonPrefix(through, 0, text, 0);
        if (end <= before.Length)
            return null;
        // What the conversation's end adds may begin like what follows the turn; all that the turn says must lie before it.
        string said = text[before.Length..end];
        return Said(messages[turn]).All(part => said.Contains(part, StringComparison.Ordinal)) ? new TextRange(before.Length, end) : null;
    }

    private TextRange? ByStandIn(ChatRequest request, JsonElement[] messages, int turn, string text)
    {
        if (!Said(messages[turn]).Any())
            return null;
        JsonElement[] changed = [.. messages];
        changed[turn] = WithContent(messages[turn], StandIn);
        string? other = TryRender(request, changed, addGenerationPrompt: request.AddGenerationPrompt);
        string? through = TryRender(request, changed[..(turn + 1)], addGenerationPrompt: false);
        int marker = other?.IndexOf(StandIn, StringComparison.Ordinal) ?? -1;
        if (other is null || marker < 0 || other.IndexOf(StandIn, marker + 1, StringComparison.Ordinal) >= 0)
            return null;
        int start = 0;
        while (start < Math.Min(text.Length, marker) && text[start] == other[start])
            start++;
        int tail = 0;
        int after = other.Length - marker - StandIn.Length;
        while (tail < Math.Min(after, text.Length - start) && text[^(tail + 1)] == other[^(tail + 1)])
            tail++;
        if (start != marker && tail != after)
            return null;
        int end = text.Length - tail;
        int stop = through?.IndexOf(StandIn, StringComparison.Ordinal) ?? -1;
        if (stop >= 0)
            end += CommonPrefix(through!, stop + StandIn.Length, text, end);
        return end > start ? new TextRange(start, end) : null;
    }

    // Templates that move something, such as the tools, to the last question change the text before the turn but not the turn: it is looked
    // for after the turn before it, and only where a special token ends it, so that no user's words are taken for it.
    private TextRange? ByOwnText(ChatRequest request, JsonElement[] messages, int turn, string text, int from)
    {
        string? before = TryRender(request, messages[..turn], addGenerationPrompt: true);
        string? through = TryRender(request, messages[..(turn + 1)], addGenerationPrompt: false);
        if (before is null || through is null || !through.StartsWith(before, StringComparison.Ordinal))
            return null;
        string own = through[before.Length..].TrimEnd();
        int start = specialTokens.Any(token => own.EndsWith(token, StringComparison.Ordinal)) ? text.IndexOf(own, from, StringComparison.Ordinal) : -1;
        return start >= 0 && Said(messages[turn]).All(part => own.Contains(part, StringComparison.Ordinal)) ? new TextRange(start, start + own.Length) : null;
    }

    // How far a from `at` and b from `bt` agree, not counting a special token that they share only the beginning of.
    private int CommonPrefix(string a, int at, string b, int bt)
    {
        int length = 0;
        while (at + length < a.Length && bt + length < b.Length && a[at + length] == b[bt + length])
            length++;
        if (at + length == a.Length)
            return length;
        int cut = length;
        foreach (string token in specialTokens)
            cut = Math.Min(cut, Math.Min(Inside(a, at, length, token), Inside(b, bt, length, token)));
        return cut;
    }

    // Where a token begins that spans the place `at + length`, as a length; else `length`.
    private static int Inside(string text, int at, int length, string token)
    {
        for (int start = Math.Max(0, length - token.Length + 1); start < length; start++)
            if (string.CompareOrdinal(text, at + start, token, 0, token.Length) == 0)
                return start;
        return length;
    }

    private string? TryRender(ChatRequest request, JsonElement[] messages, bool addGenerationPrompt)
    {
        try
        {
            return template.Render(request with { Messages = JsonValues.Array(messages), AddGenerationPrompt = addGenerationPrompt }).Text;
        }
        catch (ChatTemplateException)
        {
            return null; // Templates may refuse a conversation without its last turn; there is another way.
        }
    }

    private static string Role(JsonElement message) =>
        message.ValueKind == JsonValueKind.Object && message.TryGetProperty("role", out JsonElement role) && role.ValueKind == JsonValueKind.String
            ? role.GetString()!
            : "";

    // What must be in the text of a turn: its content, be it a string or parts with text, and the names of the functions it calls.
    private static IEnumerable<string> Said(JsonElement message)
    {
        JsonElement content = Member(message, "content");
        IEnumerable<JsonElement> texts = content.ValueKind == JsonValueKind.Array ? content.EnumerateArray().Select(part => Member(part, "text")) : [content];
        JsonElement calls = Member(message, "tool_calls");
        IEnumerable<JsonElement> names = calls.ValueKind == JsonValueKind.Array
            ? calls.EnumerateArray().Select(call => Member(Member(call, "function") is { ValueKind: JsonValueKind.Object } function ? function : call, "name"))
            : [];
        return texts.Concat(names).Where(value => value.ValueKind == JsonValueKind.String).Select(value => value.GetString()!.Trim()).Where(text => text.Length > 0);
    }

    private static JsonElement Member(JsonElement value, string name) =>
        value.ValueKind == JsonValueKind.Object && value.TryGetProperty(name, out JsonElement member) ? member : default;

    // The message with nothing to say but `content`.
    private static JsonElement WithContent(JsonElement message, string content) => JsonValues.Build(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("content", content);
        foreach (JsonProperty member in message.EnumerateObject())
            if (member.Name is not ("content" or "tool_calls"))
                member.WriteTo(writer);
        writer.WriteEndObject();
    });
}
