using System.Text;
using FineTuneCore.Tokenization.Engine;

namespace FineTuneCore.Tokenization.Normalizers;

/// <summary>Unicode normalisation forms (Unicode Standard Annex 15), with the original range of every character.</summary>
internal sealed class UnicodeNormalizer(UnicodeForm form) : INormalizer
{
    private const int HangulS = 0xAC00, HangulL = 0x1100, HangulV = 0x1161, HangulT = 0x11A7;
    private const int HangulLCount = 19, HangulVCount = 21, HangulTCount = 28, HangulSCount = HangulLCount * HangulVCount * HangulTCount;

    private readonly bool _compose = form is UnicodeForm.Nfc or UnicodeForm.Nfkc;
    private readonly bool _compatibility = form is UnicodeForm.Nfkc or UnicodeForm.Nfkd;
    private readonly UnicodeTables _tables = UnicodeTables.Instance;

    private readonly record struct Mark(int Character, int Class, int Start, int End);

    public AlignedText Apply(AlignedText text)
    {
        if (IsSurelyNormal(text.Text))
            return text;
        List<Mark> marks = Decompose(text);
        Reorder(marks);
        if (_compose)
            marks = Compose(marks);
        var result = new AlignedText.Builder(text.Text.Length);
        Span<char> units = stackalloc char[2];
        foreach (Mark mark in marks)
        {
            int length = new Rune(mark.Character).EncodeToUtf16(units);
            result.Append(units[..length], mark.Start, mark.End);
        }
        return result.Build();
    }

    // Below U+00A0 nothing changes in any form; below U+0300 nothing changes in form C.
    private bool IsSurelyNormal(string text) =>
        text.AsSpan().IndexOfAnyExceptInRange('\0', form == UnicodeForm.Nfc ? '\u02FF' : '\u009F') < 0;

    private List<Mark> Decompose(AlignedText text)
    {
        var marks = new List<Mark>(text.Text.Length);
        int position = 0;
        foreach (Rune rune in text.Text.EnumerateRunes())
        {
            Decompose(rune.Value, text.StartOf(position), text.EndOf(position), marks);
            position += rune.Utf16SequenceLength;
        }
        return marks;
    }

    private void Decompose(int c, int start, int end, List<Mark> marks)
    {
        int syllable = c - HangulS;
        if (syllable is >= 0 and < HangulSCount)
        {
            marks.Add(new Mark(HangulL + syllable / (HangulVCount * HangulTCount), 0, start, end));
            marks.Add(new Mark(HangulV + syllable % (HangulVCount * HangulTCount) / HangulTCount, 0, start, end));
            if (syllable % HangulTCount != 0)
                marks.Add(new Mark(HangulT + syllable % HangulTCount, 0, start, end));
        }
        else if (c >= 0xA0 && _tables.Decomposition(c, _compatibility) is { } parts)
        {
            foreach (int part in parts)
                Decompose(part, start, end, marks);
        }
        else
        {
            marks.Add(new Mark(c, _tables.CombiningClass(c), start, end));
        }
    }

    private static void Reorder(List<Mark> marks)
    {
        for (int i = 1; i < marks.Count; i++)
        {
            Mark mark = marks[i];
            int j = i;
            for (; mark.Class != 0 && j > 0 && marks[j - 1].Class > mark.Class; j--)
                marks[j] = marks[j - 1];
            marks[j] = mark;
        }
    }

    private List<Mark> Compose(List<Mark> marks)
    {
        var result = new List<Mark>(marks.Count);
        int starter = -1;
        int lastClass = 0;
        foreach (Mark mark in marks)
        {
            bool adjacent = starter == result.Count - 1;
            if (starter >= 0 && (adjacent || lastClass != 0 && lastClass < mark.Class)
                && Pair(result[starter].Character, mark.Character) is { } composed)
            {
                Mark first = result[starter];
                result[starter] = new Mark(composed, 0, Math.Min(first.Start, mark.Start), Math.Max(first.End, mark.End));
                continue;
            }
            if (mark.Class == 0)
                starter = result.Count;
            lastClass = mark.Class;
            result.Add(mark);
        }
        return result;
    }

    private int? Pair(int first, int second)
    {
        int l = first - HangulL;
        int v = second - HangulV;
        if (l is >= 0 and < HangulLCount && v is >= 0 and < HangulVCount)
            return HangulS + (l * HangulVCount + v) * HangulTCount;
        int s = first - HangulS;
        int t = second - HangulT;
        if (s is >= 0 and < HangulSCount && s % HangulTCount == 0 && t is > 0 and < HangulTCount)
            return first + t;
        return _tables.Composition(first, second);
    }
}
