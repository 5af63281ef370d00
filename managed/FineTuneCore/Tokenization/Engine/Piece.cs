namespace FineTuneCore.Tokenization.Engine;

/// <summary>A stretch of a text between two cuts of the pre-tokenizer.</summary>
internal readonly record struct Piece(AlignedText Source, int Start, int Length)
{
    public ReadOnlySpan<char> Span => Source.Text.AsSpan(Start, Length);

    public Piece Sub(int offset, int length) => new(Source, Start + offset, length);

    /// <summary>Whether the piece begins where the original text begins.</summary>
    public bool IsFirst => Length > 0 ? Source.StartOf(Start) == 0 : Start == 0;
}
