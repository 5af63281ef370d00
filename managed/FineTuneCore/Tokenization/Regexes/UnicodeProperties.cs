namespace FineTuneCore.Tokenization.Regexes;

/// <summary>Property names of Oniguruma and what they are in .NET.</summary>
internal static class UnicodeProperties
{
    private static readonly HashSet<string> s_categories = [.. ("L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po "
        + "S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Cs Co Cn").Split(' ')];

    private static readonly Dictionary<string, string> s_named = new(StringComparer.OrdinalIgnoreCase)
    {
        ["Letter"] = @"\p{L}",
        ["UppercaseLetter"] = @"\p{Lu}",
        ["LowercaseLetter"] = @"\p{Ll}",
        ["TitlecaseLetter"] = @"\p{Lt}",
        ["ModifierLetter"] = @"\p{Lm}",
        ["OtherLetter"] = @"\p{Lo}",
        ["Mark"] = @"\p{M}",
        ["NonspacingMark"] = @"\p{Mn}",
        ["Number"] = @"\p{N}",
        ["DecimalNumber"] = @"\p{Nd}",
        ["Punctuation"] = @"\p{P}",
        ["Symbol"] = @"\p{S}",
        ["Separator"] = @"\p{Z}",
        ["Other"] = @"\p{C}",
        ["Alpha"] = @"\p{L}\p{M}\p{Nl}\u24B6-\u24E9",
        ["Alphabetic"] = @"\p{L}\p{M}\p{Nl}\u24B6-\u24E9",
        ["Digit"] = @"\p{Nd}",
        ["Alnum"] = @"\p{L}\p{M}\p{Nl}\u24B6-\u24E9\p{Nd}",
        ["Upper"] = @"\p{Lu}",
        ["Lower"] = @"\p{Ll}",
        ["Punct"] = @"\p{P}\p{S}",
        ["Space"] = @"\s",
        ["White_Space"] = @"\s",
        ["Blank"] = @"\p{Zs}\t",
        ["Cntrl"] = @"\p{Cc}",
        ["XDigit"] = "0-9a-fA-F",
        ["Word"] = @"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\u24B6-\u24E9\u00B2\u00B3\u00B9\u00BC-\u00BE",
        // Scripts, Unicode 15 Scripts.txt up to U+FFFF.
        ["Han"] = @"\u2E80-\u2E99\u2E9B-\u2EF3\u2F00-\u2FD5\u3005\u3007\u3021-\u3029\u3038-\u303B\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFA6D\uFA70-\uFAD9",
        ["Hiragana"] = @"\u3041-\u3096\u309D-\u309F",
        ["Katakana"] = @"\u30A1-\u30FA\u30FD-\u30FF\u31F0-\u31FF\u32D0-\u32FE\u3300-\u3357\uFF66-\uFF6F\uFF71-\uFF9D",
        ["Hangul"] = @"\u1100-\u11FF\u302E-\u302F\u3131-\u318E\u3200-\u321E\u3260-\u327E\uA960-\uA97C\uAC00-\uD7A3"
            + @"\uD7B0-\uD7C6\uD7CB-\uD7FB\uFFA0-\uFFBE\uFFC2-\uFFC7\uFFCA-\uFFCF\uFFD2-\uFFD7\uFFDA-\uFFDC",
    };

    /// <summary>The set a name stands for, or null where it is not known.</summary>
    public static CharacterSet? Find(string name)
    {
        if (s_categories.Contains(name))
            return CharacterSet.Class($@"\p{{{name}}}", $@"\P{{{name}}}");
        return s_named.TryGetValue(name, out string? items) || s_named.TryGetValue(name.Replace("_", "").Replace(" ", ""), out items)
            ? CharacterSet.Class(items, null)
            : null;
    }
}
