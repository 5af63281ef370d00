using FineTuneCore.Tokenization.Engine;
using FineTuneCore.Tokenization.Normalizers;
using FineTuneCore.Tokenization.Regexes;

namespace FineTuneCore.Tokenization.PreTokenizers;

/// <summary>GPT-2's cutting and its spelling of bytes as characters. Radford et al. 2019.</summary>
internal sealed class ByteLevelPreTokenizer(bool addPrefixSpace, bool useRegex) : IPreTokenizer
{
    // The expression of GPT-2's encoder, as published.
    private const string Gpt2 = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    private readonly PrependNormalizer _space = new(" ");
    private readonly SplitPreTokenizer? _split = useRegex ? new(TextPattern.Regex(Gpt2), SplitBehavior.Isolated) : null;

    public List<Piece> Apply(List<Piece> pieces)
    {
        if (addPrefixSpace)
            pieces = [.. pieces.Select(WithSpace)];
        if (_split is not null)
            pieces = _split.Apply(pieces);
        return Spell(pieces);
    }

    private Piece WithSpace(Piece piece)
    {
        if (piece.Length == 0 || piece.Span[0] == ' ')
            return piece;
        AlignedText text = _space.Apply(piece.Source.Slice(piece.Start, piece.Length));
        return new Piece(text, 0, text.Text.Length);
    }

    private static List<Piece> Spell(List<Piece> pieces)
    {
        var builder = new AlignedText.Builder(pieces.Sum(p => p.Length) * 2);
        var ends = new List<int>(pieces.Count);
        foreach (Piece piece in pieces)
        {
            ByteLevelNormalizer.AppendBytes(piece.Source, piece.Start, piece.Length, builder);
            ends.Add(builder.Length);
        }
        AlignedText text = builder.Build();
        var result = new List<Piece>(pieces.Count);
        int start = 0;
        foreach (int end in ends)
        {
            result.Add(new Piece(text, start, end - start));
            start = end;
        }
        return result;
    }
}
