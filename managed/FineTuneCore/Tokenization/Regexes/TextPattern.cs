using System.Text.RegularExpressions;

namespace FineTuneCore.Tokenization.Regexes;

/// <summary>What Split and Replace look for: a literal string, or a regular expression in Oniguruma's spelling.</summary>
internal sealed class TextPattern
{
    private readonly string? _literal;
    private readonly Regex? _regex;

    private TextPattern(string? literal, Regex? regex)
    {
        _literal = literal;
        _regex = regex;
    }

    public static TextPattern Literal(string text) => new(text, null);

    /// <summary>Translates and compiles an expression.</summary>
    /// <exception cref="FormatException">The expression uses something that has no translation; the message names it.</exception>
    public static TextPattern Regex(string expression)
    {
        string translated = new OnigurumaTranslator(expression).Translate();
        try
        {
            // In Oniguruma's Ruby syntax ^ and $ always mean line ends.
            return new TextPattern(null, new Regex(translated, RegexOptions.CultureInvariant | RegexOptions.Multiline));
        }
        catch (ArgumentException e)
        {
            throw new FormatException($"the regular expression {expression} is not valid: {e.Message}", e);
        }
    }

    /// <summary>All matches in order, not overlapping, in UTF-16 units of <paramref name="text"/>.</summary>
    public List<(int Start, int Length)> Matches(ReadOnlySpan<char> text)
    {
        var matches = new List<(int, int)>();
        if (_literal is not null)
            AddLiteralMatches(text, _literal, matches);
        else if (AstralText.Find(text) is { } astral)
            AddAstralMatches(astral, matches);
        else
            AddRegexMatches(text, matches);
        return matches;
    }

    private static void AddLiteralMatches(ReadOnlySpan<char> text, string literal, List<(int, int)> matches)
    {
        int position = 0;
        while (literal.Length > 0 && text[position..].IndexOf(literal, StringComparison.Ordinal) is >= 0 and int skip)
        {
            matches.Add((position + skip, literal.Length));
            position += skip + literal.Length;
        }
    }

    private void AddRegexMatches(ReadOnlySpan<char> text, List<(int, int)> matches)
    {
        foreach (ValueMatch match in _regex!.EnumerateMatches(text))
            matches.Add((match.Index, match.Length));
    }

    private void AddAstralMatches(AstralText astral, List<(int, int)> matches)
    {
        AddRegexMatches(astral.Text, matches);
        for (int i = 0; i < matches.Count; i++)
        {
            (int start, int length) = matches[i];
            int from = astral.OriginalIndex(start);
            matches[i] = (from, astral.OriginalIndex(start + length) - from);
        }
    }
}
