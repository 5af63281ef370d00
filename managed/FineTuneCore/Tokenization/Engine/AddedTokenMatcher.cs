using System.Buffers;
using System.Globalization;
using System.Text;

namespace FineTuneCore.Tokenization.Engine;

/// <summary>Cuts a text at added tokens: leftmost first, the longest of those that begin at one place.</summary>
internal sealed class AddedTokenMatcher
{
    private readonly Node _root = new();
    private readonly SearchValues<char> _firstCharacters;

    /// <param name="tokens">Each token with the text to look for (its content, or its normalised content).</param>
    public AddedTokenMatcher(IEnumerable<(AddedToken Token, string Text)> tokens)
    {
        foreach ((AddedToken token, string text) in tokens)
        {
            if (text.Length == 0)
                continue;
            Node node = _root;
            foreach (char c in text)
            {
                if (!node.Next.TryGetValue(c, out Node? next))
                    node.Next.Add(c, next = new Node());
                node = next;
            }
            node.Token ??= token;
        }
        _firstCharacters = SearchValues.Create([.. _root.Next.Keys]);
    }

    /// <summary>The text in order as stretches; a stretch without token is ordinary text.</summary>
    public List<(AddedToken? Token, int Start, int Length)> Split(string text)
    {
        var parts = new List<(AddedToken?, int, int)>();
        int done = 0;
        int position = 0;
        while (position < text.Length)
        {
            int skip = text.AsSpan(position).IndexOfAny(_firstCharacters);
            if (skip < 0)
                break;
            position += skip;
            if (LongestAt(text, position) is not (AddedToken token, int length))
            {
                position++;
                continue;
            }
            int start = position;
            int stop = position + length;
            position = stop;
            if (token.SingleWord && (IsWordBefore(text, start) || IsWordAfter(text, stop)))
                continue;
            if (token.LeftStrip)
                while (start > done && char.IsWhiteSpace(text[start - 1]))
                    start--;
            if (token.RightStrip)
                while (stop < text.Length && char.IsWhiteSpace(text[stop]))
                    stop++;
            if (start > done)
                parts.Add((null, done, start - done));
            parts.Add((token, start, stop - start));
            done = position = stop;
        }
        if (done < text.Length)
            parts.Add((null, done, text.Length - done));
        return parts;
    }

    private (AddedToken Token, int Length)? LongestAt(string text, int start)
    {
        (AddedToken, int)? best = null;
        Node node = _root;
        for (int i = start; i < text.Length && node.Next.TryGetValue(text[i], out Node? next); i++)
        {
            node = next;
            if (node.Token is not null)
                best = (node.Token, i - start + 1);
        }
        return best;
    }

    private static bool IsWordBefore(string text, int end) =>
        Rune.DecodeLastFromUtf16(text.AsSpan(0, end), out Rune rune, out _) == OperationStatus.Done && IsWord(rune);

    private static bool IsWordAfter(string text, int start) =>
        Rune.DecodeFromUtf16(text.AsSpan(start), out Rune rune, out _) == OperationStatus.Done && IsWord(rune);

    private static bool IsWord(Rune rune) =>
        Rune.IsLetterOrDigit(rune) || Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark
            or UnicodeCategory.EnclosingMark or UnicodeCategory.ConnectorPunctuation or UnicodeCategory.LetterNumber;

    private sealed class Node
    {
        public Dictionary<char, Node> Next { get; } = [];

        public AddedToken? Token { get; set; }
    }
}
