using FineTuneCore.Tokenization.Engine;
using FineTuneCore.Tokenization.Normalizers;
using FineTuneCore.Tokenization.Regexes;

namespace FineTuneCore.Tokenization.PreTokenizers;

/// <summary>When <see cref="MetaspacePreTokenizer"/> puts its sign before a piece.</summary>
internal enum PrependScheme
{
    Always,
    First,
    Never,
}

/// <summary>SentencePiece's way: spaces become a visible sign, which begins each piece.</summary>
/// <param name="replacement">The sign.</param>
/// <param name="scheme">Which pieces get one in front.</param>
/// <param name="split">Whether to cut before each sign.</param>
/// <param name="evenBeforeSign">Whether a piece that begins with a sign gets another, as SentencePiece does it.</param>
internal sealed class MetaspacePreTokenizer(string replacement, PrependScheme scheme, bool split, bool evenBeforeSign = false)
    : IPreTokenizer
{
    private readonly ReplaceNormalizer _replace = new(TextPattern.Literal(" "), replacement);
    private readonly PrependNormalizer _prepend = new(replacement);
    private readonly SplitPreTokenizer _split = new(TextPattern.Literal(replacement), SplitBehavior.MergedWithNext);

    public List<Piece> Apply(List<Piece> pieces)
    {
        List<Piece> result = [.. pieces.Select(Mark)];
        return split ? _split.Apply(result) : result;
    }

    private Piece Mark(Piece piece)
    {
        AlignedText text = _replace.Apply(piece.Source.Slice(piece.Start, piece.Length));
        bool prepend = scheme == PrependScheme.Always || scheme == PrependScheme.First && piece.IsFirst;
        if (prepend && (evenBeforeSign || !text.Text.StartsWith(replacement, StringComparison.Ordinal)))
            text = _prepend.Apply(text);
        return new Piece(text, 0, text.Text.Length);
    }
}
