namespace FineTuneCore.Tokenization;

/// <summary>A rendered conversation.</summary>
/// <param name="Text">The text to encode, without adding special tokens where the template writes them itself.</param>
/// <param name="Generated">Ranges of <paramref name="Text"/> inside the template's {% generation %} blocks; empty where it has none.</param>
public sealed record RenderedChat(string Text, IReadOnlyList<TextRange> Generated);
