using FineTuneCore.Tokenization.Engine;
using FineTuneCore.Tokenization.Regexes;

namespace FineTuneCore.Tokenization.PreTokenizers;

/// <summary>Cuts at the matches of a pattern (or, inverted, at what lies between them).</summary>
internal sealed class SplitPreTokenizer(TextPattern pattern, SplitBehavior behavior, bool invert = false) : IPreTokenizer
{
    public List<Piece> Apply(List<Piece> pieces)
    {
        var result = new List<Piece>(pieces.Count * 2);
        foreach (Piece piece in pieces)
            Split(piece, result);
        return result;
    }

    private void Split(in Piece piece, List<Piece> result)
    {
        List<(int Start, int End, bool Match)> spans = Spans(piece.Span);
        if (behavior == SplitBehavior.MergedWithNext)
            MergeWithNext(spans);
        else if (behavior == SplitBehavior.MergedWithPrevious)
            MergeWithPrevious(spans);
        for (int i = 0; i < spans.Count; i++)
        {
            (int start, int end, bool match) = spans[i];
            if (behavior == SplitBehavior.Removed && match)
                continue;
            while (behavior == SplitBehavior.Contiguous && i + 1 < spans.Count && spans[i + 1].Match == match)
                end = spans[++i].End;
            if (end > start)
                result.Add(piece.Sub(start, end - start));
        }
    }

    // The whole piece in order, matches and what lies between.
    private List<(int Start, int End, bool Match)> Spans(ReadOnlySpan<char> text)
    {
        var spans = new List<(int, int, bool)>();
        int done = 0;
        foreach ((int start, int length) in pattern.Matches(text))
        {
            // An empty match cuts too, unless it lies where the match before it ends.
            if (length == 0 && start == done && start > 0)
                continue;
            if (start > done)
                spans.Add((done, start, invert));
            done = start + length;
            spans.Add((start, done, !invert));
        }
        if (done < text.Length)
            spans.Add((done, text.Length, invert));
        return spans;
    }

    private static void MergeWithPrevious(List<(int Start, int End, bool Match)> spans)
    {
        var merged = new List<(int Start, int End, bool Match)>(spans.Count);
        bool previousMatch = false;
        foreach ((int Start, int End, bool Match) span in spans)
        {
            if (span.Match && !previousMatch && merged.Count > 0)
                merged[^1] = merged[^1] with { End = span.End };
            else
                merged.Add(span);
            previousMatch = span.Match;
        }
        spans.Clear();
        spans.AddRange(merged);
    }

    private static void MergeWithNext(List<(int Start, int End, bool Match)> spans)
    {
        var merged = new List<(int Start, int End, bool Match)>(spans.Count);
        bool previousMatch = false;
        for (int i = spans.Count - 1; i >= 0; i--)
        {
            (int Start, int End, bool Match) span = spans[i];
            if (span.Match && !previousMatch && merged.Count > 0)
                merged[^1] = merged[^1] with { Start = span.Start };
            else
                merged.Add(span);
            previousMatch = span.Match;
        }
        merged.Reverse();
        spans.Clear();
        spans.AddRange(merged);
    }
}
