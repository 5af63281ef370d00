using FineTuneCore.Tokenization;

namespace FineTuneCore.Data;

/// <summary>Turns spans of text into a mask over tokens, and decides about the tokens that end turns.</summary>
internal static class TurnMask
{
    /// <param name="tokenizer">Knows which tokens are special.</param>
    /// <param name="encoding">The tokens of the whole conversation.</param>
    /// <param name="text">Its text.</param>
    /// <param name="spans">What the assistant says, in order.</param>
    /// <param name="isTrained">Whether the message of a span is trained.</param>
    /// <param name="policy">Which turn ends are trained.</param>
    public static byte[] Create(
        Tokenizer tokenizer, TokenEncoding encoding, string text, IReadOnlyList<AssistantSpan> spans, Func<int, bool> isTrained, TrainOnEos policy)
    {
        var mask = new byte[encoding.Ids.Count];
        var ends = new HashSet<int>();
        if (tokenizer.EosId is { } eos)
            ends.Add(eos);
        int lastEnd = -1;
        foreach (AssistantSpan span in spans)
        {
            (int first, int last) = Tokens(encoding, span.Range);
            int end = EndOfTurn(tokenizer, encoding, text, first, last);
            if (end >= 0)
                ends.Add(encoding.Ids[end]);
            if (!isTrained(span.Message))
                continue;
            for (int i = first; i <= (end >= 0 ? end : last); i++)
                mask[i] = 1;
            if (end >= 0)
            {
                mask[end] = policy is TrainOnEos.Turn or TrainOnEos.All ? (byte)1 : (byte)0;
                lastEnd = end;
            }
        }
        if (policy == TrainOnEos.Last && lastEnd >= 0)
            mask[lastEnd] = 1;
        if (policy == TrainOnEos.All)
            for (int i = 0; i < mask.Length; i++)
                if (ends.Contains(encoding.Ids[i]))
                    mask[i] = 1;
        if (mask.Length > 0)
            mask[0] = 0;
        return mask;
    }

    // Tokens that begin inside the range; (0, -1) where there are none.
    private static (int First, int Last) Tokens(TokenEncoding encoding, TextRange range)
    {
        int first = 0;
        while (first < encoding.Ids.Count && encoding.Offsets[first].Start < range.Start)
            first++;
        int last = first - 1;
        while (last + 1 < encoding.Ids.Count && encoding.Offsets[last + 1].Start < range.End)
            last++;
        return (first, last);
    }

    // The last special token of a turn with nothing but white space after it, or -1.
    private static int EndOfTurn(Tokenizer tokenizer, TokenEncoding encoding, string text, int first, int last)
    {
        for (int i = last; i >= first; i--)
        {
            if (tokenizer.IsSpecial(encoding.Ids[i]) || encoding.Ids[i] == tokenizer.EosId)
                return i;
            TextRange range = encoding.Offsets[i];
            if (!text.AsSpan(range.Start, range.End - range.Start).IsWhiteSpace())
                return -1;
        }
        return -1;
    }
}
