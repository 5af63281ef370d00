using System.Globalization;
using System.Numerics;
using System.Text;
using System.Text.Json;

namespace FineTuneCore.Tokenization.Templates;

/// <summary>Values from JSON, and values as Python's json.dumps writes them.</summary>
internal static class JsonText
{
    public static object? FromJson(JsonElement element, int depth = 0)
    {
        if (depth > 100)
            throw new TemplateError("a JSON value is nested more than 100 levels deep");
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                var mapping = new Mapping();
                foreach (JsonProperty member in element.EnumerateObject())
                    mapping[member.Name] = FromJson(member.Value, depth + 1);
                return mapping;
            case JsonValueKind.Array:
                return new Sequence([.. element.EnumerateArray().Select(item => FromJson(item, depth + 1))]);
            case JsonValueKind.String:
                return element.GetString();
            case JsonValueKind.Number:
                string number = element.GetRawText();
                if (number.AsSpan().IndexOfAny(".eE") >= 0)
                    return element.GetDouble();
                return element.TryGetInt64(out long integer) ? (object)integer : BigInteger.Parse(number, CultureInfo.InvariantCulture);
            case JsonValueKind.True:
                return true;
            case JsonValueKind.False:
                return false;
            default:
                return null;
        }
    }

    /// <param name="value">What to write.</param>
    /// <param name="indent">One level of indentation; null for one line.</param>
    /// <param name="item">Between items; by default ", ", or "," with indentation.</param>
    /// <param name="key">Between key and value.</param>
    /// <param name="sortKeys">Keys in order of code points.</param>
    /// <param name="ascii">Whether what is beyond ASCII is escaped.</param>
    public static string Dump(object? value, string? indent, string item, string key, bool sortKeys, bool ascii)
    {
        var writer = new Writer(new StringBuilder(), indent, item, key, sortKeys, ascii);
        writer.Write(value, 0);
        return writer.Text.ToString();
    }

    private sealed record Writer(StringBuilder Text, string? Indent, string Item, string KeySeparator, bool SortKeys, bool Ascii)
    {
        public void Write(object? value, int level)
        {
            if (level > 100)
                throw new TemplateError("tojson: a value is nested more than 100 levels deep");
            switch (value)
            {
                case string text:
                    WriteString(text);
                    break;
                case Sequence sequence:
                    WriteItems('[', ']', sequence.Items, level, item => Write(item, level + 1));
                    break;
                case Mapping mapping:
                    IEnumerable<KeyValuePair<object, object?>> pairs = mapping.Items;
                    if (SortKeys)
                        pairs = mapping.Items.OrderBy(pair => Key(pair.Key), StringComparer.Ordinal);
                    WriteItems('{', '}', [.. pairs], level, pair =>
                    {
                        WriteString(Key(pair.Key));
                        Text.Append(KeySeparator);
                        Write(pair.Value, level + 1);
                    });
                    break;
                default:
                    Text.Append(Scalar(value));
                    break;
            }
        }

        private static string Scalar(object? value) => value switch
        {
            null => "null",
            bool b => b ? "true" : "false",
            long or BigInteger => Python.Repr(value),
            double d when double.IsNaN(d) => "NaN",
            double d when double.IsInfinity(d) => d > 0 ? "Infinity" : "-Infinity",
            double d => Python.Float(d),
            _ => throw new TemplateError($"Object of type {Python.TypeName(value)} is not JSON serializable"),
        };

        private static string Key(object key) => Mapping.Value(key) is var value && value is string text ? text : Scalar(value);

        private void WriteItems<T>(char open, char close, IReadOnlyCollection<T> items, int level, Action<T> write)
        {
            Text.Append(open);
            bool first = true;
            foreach (T item in items)
            {
                Text.Append(first ? "" : Item);
                first = false;
                NewLine(level + 1);
                write(item);
                if (Text.Length > Limits.Size)
                    throw new TemplateError($"tojson: the result is over the limit of {Limits.Size} characters");
            }
            if (!first)
                NewLine(level);
            Text.Append(close);
        }

        private void NewLine(int level)
        {
            if (Indent is null)
                return;
            Text.Append('\n');
            for (int i = 0; i < level; i++)
                Text.Append(Indent);
        }

        private void WriteString(string value)
        {
            Text.Append('"');
            foreach (char c in value)
            {
                switch (c)
                {
                    case '"' or '\\':
                        Text.Append('\\').Append(c);
                        break;
                    case '\n':
                        Text.Append("\\n");
                        break;
                    case '\r':
                        Text.Append("\\r");
                        break;
                    case '\t':
                        Text.Append("\\t");
                        break;
                    case '\b':
                        Text.Append("\\b");
                        break;
                    case '\f':
                        Text.Append("\\f");
                        break;
                    default:
                        if (c < ' ' || Ascii && c > '~')
                            Text.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
                        else
                            Text.Append(c);
                        break;
                }
            }
            Text.Append('"');
        }
    }
}
