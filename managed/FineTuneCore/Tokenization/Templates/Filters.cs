using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace FineTuneCore.Tokenization.Templates;

/// <summary>Filters on single values; those on collections are in <see cref="CollectionFilters"/>.</summary>
internal static class Filters
{
    private delegate object? Filter(object? value, Arguments arguments);

    private static readonly Dictionary<string, Filter> s_filters = new()
    {
        ["abs"] = (v, _) => v is double d ? (object)Math.Abs(d) : Python.TryInteger(v, out long i) ? Math.Abs(i) : throw Needs("abs", "a number", v),
        ["capitalize"] = (v, _) => StringMethods.Capitalize(Python.Text(v)),
        ["center"] = (v, a) => Center(Python.Text(v), a.Integer("width", 80)),
        ["default"] = Default,
        ["d"] = Default,
        ["e"] = (v, _) => Escape(Python.Text(v)),
        ["escape"] = (v, _) => Escape(Python.Text(v)),
        ["forceescape"] = (v, _) => Escape(Python.Text(v)),
        ["float"] = (v, a) => ToFloat(v, a.Next("default", 0.0)),
        ["format"] = (v, a) => Format(Python.Text(v), a),
        ["indent"] = (v, a) => Indent(v as string ?? throw Needs("indent", "a string", v), a),
        ["int"] = ToInt,
        ["lower"] = (v, _) => Python.Text(v).ToLowerInvariant(),
        ["upper"] = (v, _) => Python.Text(v).ToUpperInvariant(),
        ["replace"] = (v, a) => StringMethods.Replace(
            Python.Text(v), Python.Text(a.Required("old")), Python.Text(a.Required("new")), a.Next("count", null) is long n ? n : -1),
        ["round"] = Round,
        ["safe"] = (v, _) => Python.Text(v),
        ["string"] = (v, _) => Python.Text(v),
        ["striptags"] = (v, _) => StripTags(Python.Text(v)),
        ["title"] = (v, _) => Title(Python.Text(v)),
        ["tojson"] = ToJson,
        ["trim"] = (v, a) => StringMethods.Strip(Python.Text(v), a.Next("chars", null) as string, true, true),
        ["truncate"] = Truncate,
        ["urlencode"] = (v, _) => Uri.EscapeDataString(Python.Text(v)).Replace("%2F", "/"),
        ["wordcount"] = (v, _) => (long)Regex.Count(Python.Text(v), @"\w+"),
    };

    public static bool Exists(string name) => s_filters.ContainsKey(name) || CollectionFilters.Exists(name);

    public static object? Apply(string name, object? value, Arguments arguments)
    {
        object? result;
        if (s_filters.TryGetValue(name, out Filter? filter))
            result = filter(value, arguments);
        else if (!CollectionFilters.TryApply(name, value, arguments, out result))
            throw new TemplateError($"No filter named '{name}'");
        arguments.Done();
        return result;
    }

    public static TemplateError Needs(string filter, string expected, object? value) =>
        value is Undefined undefined ? undefined.Error() : new TemplateError($"the filter {filter} needs {expected}, not {Python.TypeName(value)}");

    private static object? Default(object? value, Arguments arguments)
    {
        object? fallback = arguments.Next("default_value", "");
        bool falsy = arguments.Flag("boolean", false);
        return value is Undefined || falsy && !Python.IsTrue(value) ? fallback : value;
    }

    private static string ToJson(object? value, Arguments arguments)
    {
        // transformers' own filter: json.dumps(value, ensure_ascii, indent, separators, sort_keys), and no HTML escapes.
        bool ascii = arguments.Flag("ensure_ascii", false);
        string? indent = arguments.Next("indent", null) switch
        {
            null => null,
            string text => text,
            var number when Python.TryInteger(number, out long count) => Limits.Checked(count, () => new string(' ', (int)Math.Max(0, count))),
            var other => throw Needs("tojson", "an indent that is an int or str", other),
        };
        (string item, string key) = (indent is null ? ", " : ",", ": ");
        if (arguments.Next("separators", null) is { } separators)
        {
            IReadOnlyList<object?> pair = Python.Iterate(separators);
            if (pair is not [string first, string second])
                throw new TemplateError("tojson: separators must be two strings");
            (item, key) = (first, second);
        }
        return JsonText.Dump(value, indent, item, key, arguments.Flag("sort_keys", false), ascii);
    }

    private static object? ToInt(object? value, Arguments arguments)
    {
        object? fallback = arguments.Next("default", 0L);
        long radix = arguments.Integer("base", 10);
        switch (value)
        {
            case bool b:
                return b ? 1L : 0L;
            case long:
                return value;
            case double d:
                return double.IsFinite(d) && Math.Abs(d) < 9e18 ? (long)Math.Truncate(d) : fallback;
            case string s:
                s = s.Trim().Replace("_", "");
                if (radix == 10 && long.TryParse(s, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long parsed))
                    return parsed;
                if (radix is 2 or 8 or 16 && TryRadix(s, (int)radix, out parsed))
                    return parsed;
                return double.TryParse(s, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && Math.Abs(number) < 9e18
                    ? (long)Math.Truncate(number)
                    : fallback;
            default:
                return value is Undefined undefined ? throw undefined.Error() : fallback;
        }
    }

    private static bool TryRadix(string text, int radix, out long value)
    {
        bool negative = text.StartsWith('-');
        string digits = text.TrimStart('-', '+');
        string prefix = radix == 16 ? "0x" : radix == 8 ? "0o" : "0b";
        if (digits.StartsWith(prefix, StringComparison.OrdinalIgnoreCase))
            digits = digits[2..];
        value = 0;
        foreach (char c in digits)
        {
            int digit = char.IsAsciiHexDigit(c) ? Convert.ToInt32(c.ToString(), 16) : radix;
            if (digit >= radix || value > (long.MaxValue >> 5))
                return false;
            value = value * radix + digit;
        }
        value = negative ? -value : value;
        return digits.Length > 0;
    }

    private static object? ToFloat(object? value, object? fallback) => value switch
    {
        string s => double.TryParse(s.Trim(), NumberStyles.Float, CultureInfo.InvariantCulture, out double number) ? number : fallback,
        Undefined undefined => throw undefined.Error(),
        _ => Python.TryNumber(value, out double number) ? number : fallback,
    };

    private static object Round(object? value, Arguments arguments)
    {
        if (!Python.TryNumber(value, out double number))
            throw Needs("round", "a number", value);
        int precision = (int)Math.Clamp(arguments.Integer("precision", 0), -300, 300);
        string method = arguments.Text("method", "common");
        double factor = Math.Pow(10, precision);
        double rounded = method switch
        {
            // "F" rounds the exact binary value, as Python does; a half at precision 0 goes to the even number.
            "common" => precision is > 0 and <= 15
                ? double.Parse(number.ToString($"F{precision}", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture)
                : Math.Round(number * factor) / factor,
            "ceil" => Math.Ceiling(number * factor) / factor,
            "floor" => Math.Floor(number * factor) / factor,
            _ => throw new TemplateError("round: method must be common, ceil or floor"),
        };
        return value is long or bool && method == "common" ? (object)(long)rounded : rounded;
    }

    private static string Indent(string text, Arguments arguments)
    {
        object? width = arguments.Next("width", 4L);
        string indent = width as string ?? (Python.TryInteger(width, out long count)
            ? Limits.Checked(count, () => new string(' ', (int)Math.Max(0, count)))
            : throw Needs("indent", "a width that is an int or str", width));
        bool first = arguments.Flag("first", false);
        bool blank = arguments.Flag("blank", false);
        List<string> lines = [.. StringMethods.SplitLines(text + "\n")];
        for (int i = 0; i < lines.Count; i++)
            if (i == 0 ? first : blank || lines[i].Length > 0)
                lines[i] = indent + lines[i];
        return string.Join('\n', lines);
    }

    private static string Title(string text)
    {
        // Jinja's own: words begin after spaces, hyphens and opening brackets.
        var result = new StringBuilder(text.Length);
        bool start = true;
        foreach (char c in text)
        {
            result.Append(start ? char.ToUpperInvariant(c) : char.ToLowerInvariant(c));
            start = char.IsWhiteSpace(c) || c is '-' or '(' or '{' or '[' or '<';
        }
        return result.ToString();
    }

    private static string Format(string format, Arguments arguments)
    {
        if (arguments.Positional.Count > 0)
            return Operators.PercentFormat(format, new Sequence(arguments.Rest(), isTuple: true));
        var named = new Mapping();
        foreach (string key in arguments.Named.Keys.ToList())
            named[key] = arguments.Next(key, null);
        return Operators.PercentFormat(format, named);
    }

    private static object Truncate(object? value, Arguments arguments)
    {
        string text = Python.Text(value);
        int length = (int)arguments.Integer("length", 255);
        bool killWords = arguments.Flag("killwords", false);
        string end = arguments.Text("end", "...");
        int leeway = (int)arguments.Integer("leeway", 5);
        if (text.Length <= length + leeway)
            return text;
        string cut = text[..Math.Max(0, length - end.Length)];
        int space = cut.LastIndexOf(' ');
        return (killWords || space < 0 ? cut : cut[..space]) + end;
    }

    private static string Center(string text, long width)
    {
        int missing = (int)Math.Max(0, Limits.Checked(width, () => width) - text.Length);
        int before = missing / 2 + (missing & (int)width & 1);
        return new string(' ', before) + text + new string(' ', missing - before);
    }

    private static string Escape(string text) =>
        text.Replace("&", "&amp;").Replace("<", "&lt;").Replace(">", "&gt;").Replace("'", "&#39;").Replace("\"", "&#34;");

    private static string StripTags(string text)
    {
        var result = new StringBuilder();
        int depth = 0;
        foreach (char c in text)
        {
            depth += c == '<' ? 1 : 0;
            if (depth == 0)
                result.Append(c);
            depth -= c == '>' && depth > 0 ? 1 : 0;
        }
        return string.Join(' ', result.ToString().Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
    }
}
