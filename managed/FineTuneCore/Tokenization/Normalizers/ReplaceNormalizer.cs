using FineTuneCore.Tokenization.Engine;
using FineTuneCore.Tokenization.Regexes;

namespace FineTuneCore.Tokenization.Normalizers;

/// <summary>Replaces every match; the replacement stands for the last character of the match.</summary>
internal sealed class ReplaceNormalizer(TextPattern pattern, string content) : INormalizer
{
    public AlignedText Apply(AlignedText text)
    {
        var result = new AlignedText.Builder(text.Text.Length);
        int done = 0;
        foreach ((int start, int length) in pattern.Matches(text.Text))
        {
            result.Append(text, done, start - done);
            if (length > 0)
                result.Append(content, text.StartOf(start + length - 1), text.EndOf(start + length - 1));
            else if (text.Text.Length > 0)
                result.Append(content, text.StartOf(Math.Max(start - 1, 0)), text.EndOf(Math.Max(start - 1, 0)));
            done = start + length;
        }
        if (done == 0 && result.Length == 0)
            return text;
        result.Append(text, done, text.Text.Length - done);
        return result.Build();
    }
}
