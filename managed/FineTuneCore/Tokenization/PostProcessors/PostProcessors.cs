using FineTuneCore.Tokenization.Engine;

namespace FineTuneCore.Tokenization.PostProcessors;

/// <summary>Finishes an encoding: trims offsets, adds special tokens.</summary>
internal interface IPostProcessor
{
    TokenBuffer Apply(TokenBuffer tokens, bool addSpecialTokens);
}

/// <summary>One after the other.</summary>
internal sealed class SequencePostProcessor(IReadOnlyList<IPostProcessor> parts) : IPostProcessor
{
    public TokenBuffer Apply(TokenBuffer tokens, bool addSpecialTokens) =>
        parts.Aggregate(tokens, (current, part) => part.Apply(current, addSpecialTokens));
}

/// <summary>Special tokens before and after the text.</summary>
internal sealed class TemplatePostProcessor(IReadOnlyList<int> before, IReadOnlyList<int> after) : IPostProcessor
{
    public TokenBuffer Apply(TokenBuffer tokens, bool addSpecialTokens)
    {
        if (!addSpecialTokens)
            return tokens;
        var result = new TokenBuffer();
        foreach (int id in before)
            result.Add(id, default);
        result.Add(tokens);
        foreach (int id in after)
            result.Add(id, default);
        return result;
    }
}

/// <summary>Another post-processor without the special tokens it adds, and these instead.</summary>
internal sealed class EndsPostProcessor(IPostProcessor? inner, IReadOnlyList<int> before, IReadOnlyList<int> after) : IPostProcessor
{
    private readonly TemplatePostProcessor _ends = new(before, after);

    public TokenBuffer Apply(TokenBuffer tokens, bool addSpecialTokens) =>
        _ends.Apply(inner?.Apply(tokens, addSpecialTokens: false) ?? tokens, addSpecialTokens);
}

/// <summary>Leaves white space at the ends of a token out of its offsets.</summary>
internal sealed class TrimOffsetsPostProcessor(Func<int, string?> tokenOf, bool addPrefixSpace) : IPostProcessor
{
    public TokenBuffer Apply(TokenBuffer tokens, bool addSpecialTokens)
    {
        for (int i = 0; i < tokens.Count; i++)
        {
            string token = tokenOf(tokens.Ids[i]) ?? "";
            int leading = 0;
            while (leading < token.Length && IsSpace(token[leading]))
                leading++;
            int trailing = 0;
            while (trailing < token.Length && IsSpace(token[^(trailing + 1)]))
                trailing++;
            (int start, int end) = tokens.Offsets[i];
            // A space that was put there is not in the text.
            if (leading > 0 && addPrefixSpace && (i == 0 || start == 0))
                leading--;
            start = Math.Min(start + leading, end);
            if (leading == token.Length || trailing == token.Length)
                end = start; // All of it is white space.
            else if (trailing > 0 && end >= trailing)
                end = Math.Max(end - trailing, start);
            tokens.Offsets[i] = new TextRange(start, end);
        }
        return tokens;
    }

    private static bool IsSpace(char c) => c == ByteAlphabet.ToCharacter((byte)' ') || char.IsWhiteSpace(c);
}
