namespace FineTuneCore.Data;

/// <summary>A text that is trained as a whole.</summary>
/// <param name="Format">Text, or plain text that is cut into pieces of the context length.</param>
/// <param name="Source">Where it is from.</param>
/// <param name="Text">The text.</param>
public sealed record TextExample(ExampleFormat Format, SourceLocation Source, string Text) : Example(Format, Source);
