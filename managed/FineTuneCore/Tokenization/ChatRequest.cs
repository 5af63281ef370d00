using System.Text.Json;

namespace FineTuneCore.Tokenization;

/// <summary>One conversation to render, and how.</summary>
public sealed record ChatRequest
{
    /// <summary>An array of messages, each an object with role and content.</summary>
    public required JsonElement Messages { get; init; }

    /// <summary>Tool descriptions; JSON null is None to the template, and no value leaves <c>tools</c> undefined.</summary>
    public JsonElement? Tools { get; init; }

    /// <summary>Whether the text ends with what begins an answer. Default false.</summary>
    public bool AddGenerationPrompt { get; init; }

    /// <summary>Further variables of the template, such as enable_thinking or documents.</summary>
    public IReadOnlyDictionary<string, JsonElement> Variables { get; init; } = new Dictionary<string, JsonElement>();

    /// <summary>What strftime_now answers; by default the clock at the time of rendering.</summary>
    public DateTimeOffset? Now { get; init; }
}
