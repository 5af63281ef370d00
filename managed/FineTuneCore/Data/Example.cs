using System.Text.Json;

namespace FineTuneCore.Data;

/// <summary>How a row was written; all of them become one of the subclasses of <see cref="Example"/>.</summary>
public enum ExampleFormat
{
    /// <summary><c>{"messages": […]}</c></summary>
    Messages,

    /// <summary><c>{"prompt": …, "completion": …}</c></summary>
    PromptCompletion,

    /// <summary><c>{"text": …}</c></summary>
    Text,

    /// <summary><c>{"instruction": …, "input": …, "output": …}</c></summary>
    Alpaca,

    /// <summary><c>{"conversations": [{"from": …, "value": …}]}</c></summary>
    ShareGpt,

    /// <summary>A .txt file.</summary>
    PlainText,
}

/// <summary>One row of a dataset.</summary>
/// <param name="Format">How it was written.</param>
/// <param name="Source">Where it is from.</param>
public abstract record Example(ExampleFormat Format, SourceLocation Source);

/// <summary>A conversation, for the model's chat template.</summary>
/// <param name="Format">How it was written.</param>
/// <param name="Source">Where it is from.</param>
/// <param name="Messages">Objects with role and content, as templates take them.</param>
/// <param name="Trained">For each message whether it is trained: assistant turns whose weight is not 0.</param>
/// <param name="Tools">Tool descriptions for the template, or null.</param>
public sealed record ChatExample(
    ExampleFormat Format, SourceLocation Source, IReadOnlyList<JsonElement> Messages, IReadOnlyList<bool> Trained, JsonElement? Tools)
    : Example(Format, Source);

/// <summary>A prompt and the completion that is trained.</summary>
/// <param name="Source">Where it is from.</param>
/// <param name="Prompt">Text before.</param>
/// <param name="Completion">Text that is trained, with the end token after it.</param>
public sealed record CompletionExample(SourceLocation Source, string Prompt, string Completion)
    : Example(ExampleFormat.PromptCompletion, Source);

/// <summary>A text that is trained as a whole.</summary>
/// <param name="Format">Text, or plain text that is cut into pieces of the context length.</param>
/// <param name="Source">Where it is from.</param>
/// <param name="Text">The text.</param>
public sealed record TextExample(ExampleFormat Format, SourceLocation Source, string Text) : Example(Format, Source);
