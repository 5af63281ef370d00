using System.Globalization;
using System.Text;

namespace FineTuneCore.Tokenization.Templates;

/// <summary>Python's "…".format(…): automatic, numbered and named fields, with fill, alignment, sign, width, precision and type.</summary>
internal static class StringFormat
{
    public static string Apply(string format, IReadOnlyList<object?> positional, IReadOnlyDictionary<string, object?> named)
    {
        var result = new StringBuilder();
        int automatic = 0;
        for (int i = 0; i < format.Length; i++)
        {
            char c = format[i];
            if (c is '{' or '}' && i + 1 < format.Length && format[i + 1] == c)
            {
                result.Append(c);
                i++;
            }
            else if (c == '{')
            {
                int close = format.IndexOf('}', i);
                if (close < 0)
                    throw new TemplateError("expected '}' before end of string");
                string[] parts = format[(i + 1)..close].Split(':', 2);
                result.Append(Field(Value(parts[0], positional, named, ref automatic), parts.Length > 1 ? parts[1] : ""));
                i = close;
            }
            else if (c == '}')
            {
                throw new TemplateError("single '}' encountered in format string");
            }
            else
            {
                result.Append(c);
            }
        }
        return result.ToString();
    }

    private static object? Value(string name, IReadOnlyList<object?> positional, IReadOnlyDictionary<string, object?> named, ref int automatic)
    {
        if (name.Contains('!'))
            throw new TemplateError($"the format field {{{name}}} has a conversion, which is not supported; use % or a filter");
        if (name.AsSpan().IndexOfAny(".[") is >= 0 and var cut)
            return Members.Path(Value(name[..cut], positional, named, ref automatic), name[cut..]);
        if (name.Length == 0)
            name = (automatic++).ToString(CultureInfo.InvariantCulture);
        if (int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int index))
            return index < positional.Count ? positional[index] : throw new TemplateError($"format() has no argument {index}");
        return named.TryGetValue(name, out object? value) ? value : throw new TemplateError($"format() has no argument {name}");
    }

    private static string Field(object? value, string spec)
    {
        if (spec.Length == 0)
            return Python.Text(value);
        int i = 0;
        char fill = ' ';
        char align = '\0';
        if (spec.Length > 1 && spec[1] is '<' or '>' or '^')
            (fill, align, i) = (spec[0], spec[1], 2);
        else if (spec[0] is '<' or '>' or '^')
            (align, i) = (spec[0], 1);
        string rest = spec[i..];
        if (rest.StartsWith('0') && align == '\0')
            (fill, align) = ('0', '>');
        string type = rest.Length > 0 && char.IsAsciiLetter(rest[^1]) ? rest[^1..] : "";
        string[] numbers = rest[..^type.Length].Replace(",", "").Split('.');
        if (!int.TryParse("0" + numbers[0], NumberStyles.None, CultureInfo.InvariantCulture, out int width) || width > Limits.Size
            || numbers.Length > 2 || numbers.Length == 2 && !int.TryParse(numbers[1], out _))
            throw new TemplateError($"invalid format specifier '{spec}'");
        string precision = numbers.Length == 2 ? "." + numbers[1] : "";
        bool number = Python.TryNumber(value, out double amount);
        string text = type.Length > 0
            ? Operators.PercentFormat($"%{precision}{type}", new Sequence([value], isTuple: true))
            : number && precision.Length > 0 ? amount.ToString("G" + numbers[1], CultureInfo.InvariantCulture) : Python.Text(value);
        if (rest.Contains(','))
            text = Grouped(text);
        int missing = Math.Max(0, width - text.Length);
        return (align == '\0' ? number ? '>' : '<' : align) switch
        {
            '<' => text + new string(fill, missing),
            '^' => new string(fill, missing / 2) + text + new string(fill, missing - missing / 2),
            _ => new string(fill, missing) + text,
        };
    }

    private static string Grouped(string text)
    {
        int end = text.IndexOf('.') is >= 0 and var point ? point : text.Length;
        for (int i = end - 3; i > 0 && char.IsAsciiDigit(text[i - 1]); i -= 3)
            text = text.Insert(i, ",");
        return text;
    }
}
