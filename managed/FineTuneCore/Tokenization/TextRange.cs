namespace FineTuneCore.Tokenization;

/// <summary>A half-open range [<paramref name="Start"/>, <paramref name="End"/>) of UTF-16 characters of the text that was encoded.</summary>
/// <param name="Start">Index of the first character.</param>
/// <param name="End">Index after the last character.</param>
public readonly record struct TextRange(int Start, int End);
