using System.Text;
using FineTuneCore.Tokenization.Engine;

namespace FineTuneCore.Tokenization.Models;

/// <summary>The cut with the highest sum of token scores. Kudo 2018, arXiv:1804.10959.</summary>
internal sealed class UnigramModel : ITokenModel
{
    // SentencePiece scores an unknown character this much below the worst token.
    private const double UnknownPenalty = 10.0;

    private readonly Dictionary<string, int> _vocabulary = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _lookup;
    private readonly double[] _scores;
    private readonly bool[] _usable;
    private readonly int? _unkId;
    private readonly int[]? _byteTokens;
    private readonly int _longest;
    private readonly double _unknownScore;

    /// <param name="pieces">Token and score, in order of id.</param>
    /// <param name="unkId">Id for what the vocabulary lacks; null drops it.</param>
    /// <param name="byteFallback">Spell what the vocabulary lacks as &lt;0xNN&gt; tokens.</param>
    /// <param name="usable">Which ids may be found in text; null: all but the unknown.</param>
    public UnigramModel(IReadOnlyList<(string Token, double Score)> pieces, int? unkId, bool byteFallback, bool[]? usable = null)
    {
        _scores = [.. pieces.Select(piece => piece.Score)];
        _usable = usable ?? [.. Enumerable.Range(0, pieces.Count).Select(id => id != unkId)];
        for (int id = 0; id < pieces.Count; id++)
        {
            _vocabulary.TryAdd(pieces[id].Token, id);
            _longest = Math.Max(_longest, pieces[id].Token.Length);
        }
        _lookup = _vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        _unkId = unkId;
        _unknownScore = _scores.DefaultIfEmpty(0).Min() - UnknownPenalty;
        if (byteFallback)
            _byteTokens = [.. Enumerable.Range(0, 256).Select(b => _vocabulary.GetValueOrDefault($"<0x{b:X2}>", -1))];
    }

    public IReadOnlyDictionary<string, int> Vocabulary => _vocabulary;

    public void Tokenize(in Piece piece, TokenBuffer output)
    {
        ReadOnlySpan<char> text = piece.Span;
        (int Id, int Start)[] best = BestPaths(text);
        var path = new Stack<(int Id, int Start, int End)>();
        for (int end = text.Length; end > 0; end = best[end].Start)
        {
            // Neighbouring unknown characters are one token.
            if (best[end].Id < 0 && path.TryPeek(out (int Id, int Start, int End) next) && next.Id < 0)
                path.Push((-1, best[end].Start, path.Pop().End));
            else
                path.Push((best[end].Id, best[end].Start, end));
        }
        foreach ((int id, int start, int end) in path)
            Emit(id, start, end, piece, output);
    }

    private (int Id, int Start)[] BestPaths(ReadOnlySpan<char> text)
    {
        var best = new (int Id, int Start)[text.Length + 1];
        var scores = new double[text.Length + 1];
        Array.Fill(scores, double.NegativeInfinity, 1, text.Length);
        for (int start = 0; start < text.Length;)
        {
            Rune.DecodeFromUtf16(text[start..], out _, out int width);
            bool single = false;
            for (int length = 1; length <= _longest && start + length <= text.Length; length++)
            {
                if (!_lookup.TryGetValue(text.Slice(start, length), out int id) || !_usable[id])
                    continue;
                single |= length == width;
                Offer(start + length, scores[start] + _scores[id], id, start);
            }
            if (!single)
                Offer(start + width, scores[start] + _unknownScore, -1, start);
            start += width;
        }
        return best;

        void Offer(int end, double score, int id, int start)
        {
            if (score <= scores[end])
                return;
            scores[end] = score;
            best[end] = (id, start);
        }
    }

    private void Emit(int id, int start, int end, in Piece piece, TokenBuffer output)
    {
        if (id >= 0)
        {
            output.Add([id], [start], [end - start], piece);
            return;
        }
        byte[] utf8 = Encoding.UTF8.GetBytes(piece.Span[start..end].ToString());
        if (_byteTokens is not null && utf8.All(b => _byteTokens[b] >= 0))
        {
            foreach (byte b in utf8)
                output.Add([_byteTokens[b]], [start], [end - start], piece);
        }
        else if (_unkId is { } unk)
        {
            output.Add([unk], [start], [end - start], piece);
        }
    }
}
