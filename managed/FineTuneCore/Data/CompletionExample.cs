namespace FineTuneCore.Data;

/// <summary>A prompt and the completion that is trained.</summary>
/// <param name="Source">Where it is from.</param>
/// <param name="Prompt">Text before.</param>
/// <param name="Completion">Text that is trained, with the end token after it.</param>
public sealed record CompletionExample(SourceLocation Source, string Prompt, string Completion)
    : Example(ExampleFormat.PromptCompletion, Source);
