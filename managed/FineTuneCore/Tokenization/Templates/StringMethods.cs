using System.Text;

namespace FineTuneCore.Tokenization.Templates;

/// <summary>Methods of Python's str.</summary>
internal static class StringMethods
{
    public static Callable? Find(string text, string name)
    {
        Func<Arguments, object?>? body = name switch
        {
            "strip" => a => Strip(text, Characters(a), true, true),
            "lstrip" => a => Strip(text, Characters(a), true, false),
            "rstrip" => a => Strip(text, Characters(a), false, true),
            "split" => a => Split(text, a, fromEnd: false),
            "rsplit" => a => Split(text, a, fromEnd: true),
            "splitlines" => a => new Sequence([.. SplitLines(text, a.Flag("keepends", false))]),
            "startswith" => a => Affixes(a) is var prefixes && Part(text, a, out _) is { } part && prefixes.Any(part.StartsWithOrdinal),
            "endswith" => a => Affixes(a) is var suffixes && Part(text, a, out _) is { } part && suffixes.Any(part.EndsWithOrdinal),
            "removeprefix" => a => a.Text("prefix") is var p && text.StartsWith(p, StringComparison.Ordinal) ? text[p.Length..] : text,
            "removesuffix" => a => a.Text("suffix") is var s && text.EndsWith(s, StringComparison.Ordinal) ? text[..^s.Length] : text,
            "replace" => a => Replace(text, a.Text("old"), a.Text("new"), a.Integer("count", -1)),
            "find" => a => IndexOf(text, a, last: false),
            "rfind" => a => IndexOf(text, a, last: true),
            "index" => a => IndexOf(text, a, last: false) is >= 0 and var i ? i : throw new TemplateError("substring not found"),
            "rindex" => a => IndexOf(text, a, last: true) is >= 0 and var i ? i : throw new TemplateError("substring not found"),
            "count" => a => a.Text("sub") is var sub && Part(text, a, out _) is { } part ? Count(part, sub) : 0L,
            "upper" => _ => text.ToUpperInvariant(),
            "lower" => _ => text.ToLowerInvariant(),
            "casefold" => _ => text.ToLowerInvariant(),
            "capitalize" => _ => Capitalize(text),
            "title" => _ => Title(text),
            "swapcase" => _ => string.Concat(text.Select(c => char.IsUpper(c) ? char.ToLowerInvariant(c) : char.ToUpperInvariant(c))),
            "join" => a => Join(text, a.Required("iterable")),
            "format" => a => StringFormat.Apply(text, a.Rest(), a.Remaining("format").Named),
            "partition" => a => Partition(text, a.Text("sep"), last: false),
            "rpartition" => a => Partition(text, a.Text("sep"), last: true),
            "isdigit" or "isnumeric" or "isdecimal" => _ => text.Length > 0 && text.All(char.IsDigit),
            "isalpha" => _ => text.Length > 0 && text.All(char.IsLetter),
            "isalnum" => _ => text.Length > 0 && text.All(char.IsLetterOrDigit),
            "isspace" => _ => text.Length > 0 && text.All(IsSpace),
            "isupper" => _ => text.Any(char.IsUpper) && !text.Any(char.IsLower),
            "islower" => _ => text.Any(char.IsLower) && !text.Any(char.IsUpper),
            "ljust" => a => Pad(text, a, left: false, right: true),
            "rjust" => a => Pad(text, a, left: true, right: false),
            "center" => a => Pad(text, a, left: true, right: true),
            "zfill" => a => ZeroFill(text, a.Integer("width", 0)),
            _ => null,
        };
        if (body is null)
            return null;
        return new Callable(name, arguments =>
        {
            object? result = body(arguments);
            if (name != "format")
                arguments.Done();
            return result;
        });
    }

    public static string Strip(string text, string? characters, bool left, bool right)
    {
        int start = 0;
        int end = text.Length;
        while (left && start < end && Strips(text[start]))
            start++;
        while (right && end > start && Strips(text[end - 1]))
            end--;
        return text[start..end];

        bool Strips(char c) => characters is null ? IsSpace(c) : characters.Contains(c);
    }

    private static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    public static string Replace(string text, string old, string replacement, long count)
    {
        if (count < 0 && old.Length > 0)
            return Limits.Checked(text.Length + (long)Count(text, old) * replacement.Length, () => text.Replace(old, replacement, StringComparison.Ordinal));
        var result = new StringBuilder();
        int done = 0;
        for (int at = 0; count != 0 && at <= text.Length; count--)
        {
            int found = text.IndexOf(old, at, StringComparison.Ordinal);
            if (found < 0)
                break;
            result.Append(text, done, found - done).Append(replacement);
            done = found + old.Length;
            at = old.Length > 0 ? done : found + 1;
        }
        return result.Append(text, done, text.Length - done).ToString();
    }

    public static string Join(string separator, object? items)
    {
        List<string> parts = [];
        foreach (object? item in Python.Iterate(items))
            parts.Add(item as string ?? throw new TemplateError($"sequence item {parts.Count}: expected str instance, {Python.TypeName(item)} found"));
        return Limits.Checked(parts.Sum(part => (long)part.Length + separator.Length), () => string.Join(separator, parts));
    }

    public static IEnumerable<string> SplitLines(string text, bool keepEnds = false)
    {
        int start = 0;
        while (start < text.Length)
        {
            int end = text.AsSpan(start).IndexOfAny("\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029");
            if (end < 0)
            {
                yield return text[start..];
                yield break;
            }
            end += start;
            int next = text[end] == '\r' && end + 1 < text.Length && text[end + 1] == '\n' ? end + 2 : end + 1;
            yield return text[start..(keepEnds ? next : end)];
            start = next;
        }
    }

    public static string Capitalize(string text) =>
        text.Length == 0 ? text : text[..1].ToUpperInvariant() + text[1..].ToLowerInvariant();

    private static string? Characters(Arguments arguments) => arguments.Next("chars", null) switch
    {
        null => null,
        string characters => characters,
        _ => throw new TemplateError($"{arguments.Function} arg must be None or str"),
    };

    private static List<string> Affixes(Arguments arguments) => arguments.Required("prefix") switch
    {
        string one => [one],
        Sequence { IsTuple: true } many => [.. many.Items.Select(item => item as string ?? throw new TemplateError("expected a tuple of str"))],
        var other => throw new TemplateError($"{arguments.Function} first arg must be str or a tuple of str, not {Python.TypeName(other)}"),
    };

    private static Sequence Split(string text, Arguments arguments, bool fromEnd)
    {
        object? separator = arguments.Next("sep", null);
        long limit = arguments.Integer("maxsplit", -1);
        if (separator is "")
            throw new TemplateError("empty separator");
        if (separator is not (null or string))
            throw new TemplateError($"must be str or None, not {Python.TypeName(separator)}");
        List<string> parts = separator is string s ? SplitAt(text, s, limit, fromEnd) : SplitSpaces(text, limit, fromEnd);
        return new Sequence([.. parts]);
    }

    private static List<string> SplitAt(string text, string separator, long limit, bool fromEnd)
    {
        var parts = new List<string>();
        int start = 0;
        int end = text.Length;
        for (; limit != 0; limit--)
        {
            ReadOnlySpan<char> rest = text.AsSpan(start, end - start);
            int at = fromEnd ? rest.LastIndexOf(separator, StringComparison.Ordinal) : rest.IndexOf(separator, StringComparison.Ordinal);
            if (at < 0)
                break;
            at += start;
            parts.Add(fromEnd ? text[(at + separator.Length)..end] : text[start..at]);
            (start, end) = fromEnd ? (start, at) : (at + separator.Length, end);
        }
        parts.Add(text[start..end]);
        if (fromEnd)
            parts.Reverse();
        return parts;
    }

    // What is left when the limit is reached keeps the white space at its far end, as in Python.
    private static List<string> SplitSpaces(string text, long limit, bool fromEnd)
    {
        var parts = new List<string>();
        int start = 0;
        int end = text.Length;
        while (true)
        {
            while (start < end && IsSpace(fromEnd ? text[end - 1] : text[start]))
                (start, end) = fromEnd ? (start, end - 1) : (start + 1, end);
            if (start == end)
                break;
            (int from, int to) = (start, end);
            if (limit-- != 0 && text.AsSpan(start, end - start) is var rest)
                (from, to) = fromEnd ? (start + 1 + LastSpace(rest), end) : (start, FirstSpace(rest) is >= 0 and var at ? start + at : end);
            parts.Add(text[from..to]);
            (start, end) = fromEnd ? (start, from) : (to, end);
        }
        if (fromEnd)
            parts.Reverse();
        return parts;

        static int FirstSpace(ReadOnlySpan<char> s)
        {
            for (int i = 0; i < s.Length; i++)
                if (IsSpace(s[i]))
                    return i;
            return -1;
        }

        static int LastSpace(ReadOnlySpan<char> s)
        {
            int i = s.Length - 1;
            while (i >= 0 && !IsSpace(s[i]))
                i--;
            return i;
        }
    }

    private static long IndexOf(string text, Arguments arguments, bool last)
    {
        string sought = arguments.Text("sub");
        if (Part(text, arguments, out long start) is not { } part)
            return -1;
        int at = last ? part.LastIndexOf(sought, StringComparison.Ordinal) : part.IndexOf(sought, StringComparison.Ordinal);
        return at < 0 ? -1 : start + RuneCount(part[..at]);
    }

    // The part that optional start and end arguments name, or null where it begins after the end.
    private static string? Part(string text, Arguments arguments, out long start)
    {
        object? from = arguments.Next("start", null);
        object? to = arguments.Next("end", null);
        start = 0;
        if (from is null && to is null)
            return text;
        long length = RuneCount(text);
        if (Python.TryInteger(from, out long index))
            start = Math.Max(0, index < 0 ? index + length : index);
        return start > length ? null : (string?)Members.Slice(text, from, to, null);
    }

    private static bool StartsWithOrdinal(this string text, string prefix) => text.StartsWith(prefix, StringComparison.Ordinal);

    private static bool EndsWithOrdinal(this string text, string suffix) => text.EndsWith(suffix, StringComparison.Ordinal);

    private static long RuneCount(string text) => text.EnumerateRunes().Count();

    private static long Count(string text, string part)
    {
        if (part.Length == 0)
            return RuneCount(text) + 1;
        long count = 0;
        for (int at = text.IndexOf(part, StringComparison.Ordinal); at >= 0; at = text.IndexOf(part, at + part.Length, StringComparison.Ordinal))
            count++;
        return count;
    }

    private static string Title(string text)
    {
        var result = new StringBuilder(text.Length);
        bool inWord = false;
        foreach (char c in text)
        {
            result.Append(inWord ? char.ToLowerInvariant(c) : char.ToUpperInvariant(c));
            inWord = char.IsLetter(c);
        }
        return result.ToString();
    }

    private static Sequence Partition(string text, string separator, bool last)
    {
        int at = last ? text.LastIndexOf(separator, StringComparison.Ordinal) : text.IndexOf(separator, StringComparison.Ordinal);
        if (at < 0)
            return new Sequence(last ? ["", "", text] : [text, "", ""], isTuple: true);
        return new Sequence([text[..at], separator, text[(at + separator.Length)..]], isTuple: true);
    }

    private static string Pad(string text, Arguments arguments, bool left, bool right)
    {
        long width = arguments.Integer("width", 0);
        width = Limits.Checked(width, () => width);
        char fill = arguments.Text("fillchar", " ") is { Length: 1 } one ? one[0] : throw new TemplateError("the fill character must be exactly one character long");
        int total = (int)Math.Max(0, width - RuneCount(text));
        int before = left ? right ? total / 2 + (total & (int)width & 1) : total : 0;
        return new string(fill, before) + text + new string(fill, total - before);
    }

    private static string ZeroFill(string text, long width)
    {
        int sign = text.Length > 0 && text[0] is '-' or '+' ? 1 : 0;
        return Limits.Checked(width, () => text[..sign] + text[sign..].PadLeft((int)Math.Max(0, width - sign), '0'));
    }
}
