using System.Globalization;
using System.Text;
using FineTuneCore.Tokenization.Engine;
using FineTuneCore.Tokenization.PreTokenizers;
using FineTuneCore.Tokenization.Regexes;

namespace FineTuneCore.Tokenization.Decoders;

/// <summary>One after the other.</summary>
internal sealed class SequenceDecoder(IReadOnlyList<IDecoder> parts) : IDecoder
{
    public List<string> Apply(List<string> tokens) => parts.Aggregate(tokens, (current, part) => part.Apply(current));
}

/// <summary>Joins all tokens into one.</summary>
internal sealed class FuseDecoder : IDecoder
{
    public List<string> Apply(List<string> tokens) => [string.Concat(tokens)];
}

/// <summary>Reads byte characters as bytes and all of them as UTF-8; a token with other characters is taken as the text it is.</summary>
internal sealed class ByteLevelDecoder : IDecoder
{
    public List<string> Apply(List<string> tokens)
    {
        var bytes = new List<byte>();
        foreach (string token in tokens)
        {
            if (token.All(c => ByteAlphabet.ToByte(c) >= 0))
                bytes.AddRange(token.Select(c => (byte)ByteAlphabet.ToByte(c)));
            else
                bytes.AddRange(Encoding.UTF8.GetBytes(token));
        }
        return [Encoding.UTF8.GetString([.. bytes])];
    }
}

/// <summary>Reads runs of &lt;0xNN&gt; tokens as UTF-8; a run that is not valid becomes one U+FFFD a byte.</summary>
internal sealed class ByteFallbackDecoder : IDecoder
{
    private static readonly UTF8Encoding s_strict = new(false, throwOnInvalidBytes: true);

    public List<string> Apply(List<string> tokens)
    {
        var result = new List<string>(tokens.Count);
        var run = new List<byte>();
        foreach (string token in tokens)
        {
            if (ByteOf(token) is { } value)
            {
                run.Add(value);
                continue;
            }
            Flush(run, result);
            result.Add(token);
        }
        Flush(run, result);
        return result;
    }

    private static byte? ByteOf(string token) =>
        token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>'
        && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value)
            ? value
            : null;

    private static void Flush(List<byte> run, List<string> result)
    {
        if (run.Count == 0)
            return;
        try
        {
            result.Add(s_strict.GetString([.. run]));
        }
        catch (ArgumentException)
        {
            result.AddRange(Enumerable.Repeat("\uFFFD", run.Count));
        }
        run.Clear();
    }
}

/// <summary>Removes up to so many of one character at the start and end of each token.</summary>
internal sealed class StripDecoder(char content, int start, int stop) : IDecoder
{
    public List<string> Apply(List<string> tokens) => tokens.ConvertAll(token =>
    {
        int from = 0;
        while (from < start && from < token.Length && token[from] == content)
            from++;
        int to = token.Length;
        while (token.Length - to < stop && to > from && token[to - 1] == content)
            to--;
        return token[from..to];
    });
}

/// <summary>Replaces every match in each token.</summary>
internal sealed class ReplaceDecoder(TextPattern pattern, string content) : IDecoder
{
    public List<string> Apply(List<string> tokens) => tokens.ConvertAll(token =>
    {
        var result = new StringBuilder();
        int done = 0;
        foreach ((int start, int length) in pattern.Matches(token))
        {
            result.Append(token, done, start - done).Append(content);
            done = start + length;
        }
        return done == 0 && result.Length == 0 ? token : result.Append(token, done, token.Length - done).ToString();
    });
}

/// <summary>Signs back to spaces; those of the first token were put there and vanish.</summary>
internal sealed class MetaspaceDecoder(char replacement, PrependScheme scheme) : IDecoder
{
    public List<string> Apply(List<string> tokens) => [.. tokens.Select((token, i) => i == 0 && scheme != PrependScheme.Never
        ? token.Replace(replacement.ToString(), "")
        : token.Replace(replacement, ' '))];
}

/// <summary>Word ends of BPE vocabularies with a suffix become spaces.</summary>
internal sealed class SuffixDecoder(string suffix) : IDecoder
{
    public List<string> Apply(List<string> tokens) =>
        [.. tokens.Select((token, i) => suffix.Length == 0 ? token : token.Replace(suffix, i == tokens.Count - 1 ? "" : " "))];
}
