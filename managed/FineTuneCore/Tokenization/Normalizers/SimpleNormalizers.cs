using System.Globalization;
using System.Text;
using FineTuneCore.Tokenization.Engine;

namespace FineTuneCore.Tokenization.Normalizers;

/// <summary>One after the other.</summary>
internal sealed class SequenceNormalizer(IReadOnlyList<INormalizer> parts) : INormalizer
{
    public AlignedText Apply(AlignedText text) => parts.Aggregate(text, (current, part) => part.Apply(current));
}

/// <summary>Puts a string before a text that is not empty; the string stands for the first character.</summary>
internal sealed class PrependNormalizer(string prefix) : INormalizer
{
    public AlignedText Apply(AlignedText text)
    {
        if (text.Text.Length == 0)
            return text;
        var result = new AlignedText.Builder(text.Text.Length + prefix.Length);
        result.Append(prefix, text.StartOf(0), text.EndOf(0));
        result.Append(text, 0, text.Text.Length);
        return result.Build();
    }
}

/// <summary>Removes white space at the ends.</summary>
internal sealed class StripNormalizer(bool left, bool right) : INormalizer
{
    public AlignedText Apply(AlignedText text)
    {
        int start = 0;
        int end = text.Text.Length;
        while (left && start < end && char.IsWhiteSpace(text.Text[start]))
            start++;
        while (right && end > start && char.IsWhiteSpace(text.Text[end - 1]))
            end--;
        return text.Slice(start, end - start);
    }
}

/// <summary>Lower case by Unicode's mapping of single characters; İ becomes i and a combining dot.</summary>
internal sealed class LowercaseNormalizer : INormalizer
{
    public AlignedText Apply(AlignedText text)
    {
        var result = new AlignedText.Builder(text.Text.Length);
        int position = 0;
        foreach (Rune rune in text.Text.EnumerateRunes())
        {
            string lower = rune.Value == 0x130 ? "i\u0307" : Rune.ToLowerInvariant(rune).ToString();
            result.Append(lower, text.StartOf(position), text.EndOf(position));
            position += rune.Utf16SequenceLength;
        }
        return result.Build();
    }
}

/// <summary>Drops combining marks (category Mn).</summary>
internal sealed class StripAccentsNormalizer : INormalizer
{
    public AlignedText Apply(AlignedText text)
    {
        var result = new AlignedText.Builder(text.Text.Length);
        int position = 0;
        foreach (Rune rune in text.Text.EnumerateRunes())
        {
            int length = rune.Utf16SequenceLength;
            if (Rune.GetUnicodeCategory(rune) != UnicodeCategory.NonSpacingMark)
                result.Append(text, position, length);
            position += length;
        }
        return result.Build();
    }
}

/// <summary>Spells each byte of the UTF-8 form as a character of the byte alphabet.</summary>
internal sealed class ByteLevelNormalizer : INormalizer
{
    public AlignedText Apply(AlignedText text)
    {
        var result = new AlignedText.Builder(text.Text.Length);
        AppendBytes(text, 0, text.Text.Length, result);
        return result.Build();
    }

    /// <summary>Appends [start, start + length) of <paramref name="text"/> to <paramref name="result"/> as byte characters.</summary>
    public static void AppendBytes(AlignedText text, int start, int length, AlignedText.Builder result)
    {
        Span<byte> utf8 = stackalloc byte[4];
        int position = start;
        foreach (Rune rune in text.Text.AsSpan(start, length).EnumerateRunes())
        {
            int from = text.StartOf(position);
            int to = text.EndOf(position);
            int count = rune.EncodeToUtf8(utf8);
            for (int i = 0; i < count; i++)
                result.Append(ByteAlphabet.ToCharacter(utf8[i]), from, to);
            position += rune.Utf16SequenceLength;
        }
    }
}

/// <summary>
/// BERT's cleaning: control characters go, other white space becomes a space, CJK characters stand alone, accents and case as asked.
/// </summary>
internal sealed class BertNormalizer(bool cleanText, bool spaceCjk, bool stripAccents, bool lowercase) : INormalizer
{
    private static readonly UnicodeNormalizer s_decompose = new(UnicodeForm.Nfd);

    public AlignedText Apply(AlignedText text)
    {
        var result = new AlignedText.Builder(text.Text.Length);
        int position = 0;
        foreach (Rune rune in text.Text.EnumerateRunes())
        {
            int at = position;
            position += rune.Utf16SequenceLength;
            bool space = Rune.IsWhiteSpace(rune);
            if (cleanText && !space && (rune.Value is 0 or 0xFFFD || IsControl(rune)))
                continue;
            int start = text.StartOf(at);
            int end = text.EndOf(at);
            if (cleanText && space)
                result.Append(' ', start, end);
            else if (spaceCjk && IsCjk(rune.Value))
                result.Append($" {rune} ", start, end);
            else
                result.Append(text, at, position - at);
        }
        AlignedText cleaned = result.Build();
        if (stripAccents)
            cleaned = new StripAccentsNormalizer().Apply(s_decompose.Apply(cleaned));
        return lowercase ? new LowercaseNormalizer().Apply(cleaned) : cleaned;
    }

    private static bool IsControl(Rune rune) => Rune.GetUnicodeCategory(rune)
        is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.OtherNotAssigned or UnicodeCategory.PrivateUse;

    private static bool IsCjk(int c) => c is (>= 0x4E00 and <= 0x9FFF) or (>= 0x3400 and <= 0x4DBF) or (>= 0x20000 and <= 0x2A6DF)
        or (>= 0x2A700 and <= 0x2B81F) or (>= 0x2B920 and <= 0x2CEAF) or (>= 0xF900 and <= 0xFAFF) or (>= 0x2F800 and <= 0x2FA1F);
}
