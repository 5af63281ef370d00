using System.Globalization;
using System.Text;

namespace FineTuneCore.Tokenization.Regexes;

/// <summary>
/// A text whose characters beyond U+FFFF are each replaced by one stand-in of the same general category, because .NET's expressions see two
/// surrogates of category Cs where \p{L} should see a letter. The stand-ins are rare characters that no tokenizer's expression names.
/// </summary>
internal sealed class AstralText
{
    private readonly int[] _originalIndex;

    private AstralText(string text, int[] originalIndex)
    {
        Text = text;
        _originalIndex = originalIndex;
    }

    public string Text { get; }

    /// <summary>The text with stand-ins, or null where it has no surrogates and can be used as it is.</summary>
    public static AstralText? Find(ReadOnlySpan<char> text)
    {
        if (text.IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
            return null;
        var result = new StringBuilder(text.Length);
        var index = new List<int>(text.Length + 1);
        int position = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            result.Append(rune.IsBmp ? (char)rune.Value : StandIn(rune));
            index.Add(position);
            position += rune.Utf16SequenceLength;
        }
        index.Add(position);
        return new AstralText(result.ToString(), [.. index]);
    }

    public int OriginalIndex(int index) => _originalIndex[index];

    private static char StandIn(Rune rune) => Rune.GetUnicodeCategory(rune) switch
    {
        UnicodeCategory.OtherLetter => IsHan(rune.Value) ? '\uFA6D' : '\uA500',
        UnicodeCategory.UppercaseLetter => '\uA7A0',
        UnicodeCategory.LowercaseLetter => '\uA7A1',
        UnicodeCategory.ModifierLetter => '\uA4F8',
        UnicodeCategory.NonSpacingMark => '\uA825',
        UnicodeCategory.SpacingCombiningMark => '\uA823',
        UnicodeCategory.EnclosingMark => '\uA670',
        UnicodeCategory.DecimalDigitNumber => '\uA620',
        UnicodeCategory.LetterNumber => '\uA6E6',
        UnicodeCategory.OtherNumber => '\uA830',
        UnicodeCategory.DashPunctuation => '\u2E17',
        UnicodeCategory.OpenPunctuation => '\u2E28',
        UnicodeCategory.ClosePunctuation => '\u2E29',
        UnicodeCategory.OtherPunctuation => '\uA60D',
        UnicodeCategory.MathSymbol => '\u2A00',
        UnicodeCategory.CurrencySymbol => '\uA838',
        UnicodeCategory.ModifierSymbol => '\uA700',
        UnicodeCategory.OtherSymbol => '\uA490',
        UnicodeCategory.Format => '\u2060',
        UnicodeCategory.PrivateUse => '\uE000',
        _ => '\u2FE0', // unassigned
    };

    // Every Han ideograph beyond U+FFFF lies in the two ideographic planes.
    private static bool IsHan(int c) => c is >= 0x20000 and <= 0x3FFFF;
}
