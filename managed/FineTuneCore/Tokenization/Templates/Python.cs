using System.Globalization;
using System.Numerics;
using System.Text;

namespace FineTuneCore.Tokenization.Templates;

/// <summary>How Python sees values: truth, equality, order, iteration, and their spelling by str and repr.</summary>
internal static class Python
{
    public static string TypeName(object? value) => value switch
    {
        null => "NoneType",
        bool => "bool",
        long or BigInteger => "int",
        double => "float",
        string => "str",
        Sequence { IsTuple: true } => "tuple",
        Sequence => "list",
        Mapping => "dict",
        Undefined => "Undefined",
        Generator => "generator",
        Namespace => "Namespace",
        LoopState => "LoopContext",
        _ => "function",
    };

    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined => false,
        bool b => b,
        long l => l != 0,
        BigInteger i => !i.IsZero,
        double d => d != 0,
        string s => s.Length > 0,
        Sequence s => s.Items.Count > 0,
        Mapping m => m.Items.Count > 0,
        _ => true,
    };

    public static bool TryNumber(object? value, out double number)
    {
        (bool ok, number) = value switch
        {
            bool b => (true, b ? 1.0 : 0.0),
            long l => (true, l),
            BigInteger i => (true, (double)i),
            double d => (true, d),
            _ => (false, 0.0),
        };
        return ok;
    }

    /// <summary>Whether the value is an int or bool that fits 64 bits.</summary>
    public static bool TryInteger(object? value, out long number)
    {
        number = value switch { bool b => b ? 1 : 0, long l => l, _ => 0 };
        return value is bool or long;
    }

    public static bool AreEqual(object? left, object? right)
    {
        if (left is Undefined && right is Undefined)
            return true;
        if (left is string a && right is string b)
            return string.Equals(a, b, StringComparison.Ordinal);
        if (TryInteger(left, out long i) && TryInteger(right, out long j))
            return i == j;
        if (TryNumber(left, out double x) && TryNumber(right, out double y))
            return x == y;
        return (left, right) switch
        {
            (Sequence s, Sequence t) => s.IsTuple == t.IsTuple && s.Items.Count == t.Items.Count && s.Items.Zip(t.Items, AreEqual).All(same => same),
            (Mapping m, Mapping n) => m.Items.Count == n.Items.Count
                && m.Items.All(pair => n.Items.TryGetValue(pair.Key, out object? other) && AreEqual(pair.Value, other)),
            _ => ReferenceEquals(left, right),
        };
    }

    /// <summary>Negative, zero or positive as left is before, equal to or after right.</summary>
    public static int Compare(object? left, object? right, string op)
    {
        if (left is Undefined u)
            throw u.Error();
        if (right is Undefined v)
            throw v.Error();
        if (left is string a && right is string b)
            return string.CompareOrdinal(a, b);
        if (TryInteger(left, out long i) && TryInteger(right, out long j))
            return i.CompareTo(j);
        if (TryNumber(left, out double x) && TryNumber(right, out double y))
            return x.CompareTo(y);
        if (left is Sequence s && right is Sequence t && s.IsTuple == t.IsTuple)
        {
            for (int n = 0; n < Math.Min(s.Items.Count, t.Items.Count); n++)
                if (!AreEqual(s.Items[n], t.Items[n]))
                    return Compare(s.Items[n], t.Items[n], op);
            return s.Items.Count.CompareTo(t.Items.Count);
        }
        throw new TemplateError($"'{op}' not supported between instances of '{TypeName(left)}' and '{TypeName(right)}'");
    }

    public static IReadOnlyList<object?> Iterate(object? value) => value switch
    {
        Sequence s => s.Items,
        Mapping m => [.. m.Keys],
        string s => [.. s.EnumerateRunes().Select(rune => (object?)rune.ToString())],
        Undefined => [],
        Generator g => g.Take(),
        _ => throw new TemplateError($"'{TypeName(value)}' object is not iterable"),
    };

    public static int Length(object? value) => value switch
    {
        string s => s.EnumerateRunes().Count(),
        Sequence s => s.Items.Count,
        Mapping m => m.Items.Count,
        Undefined => 0,
        LoopState l => l.Items.Count,
        _ => throw new TemplateError($"object of type '{TypeName(value)}' has no len()"),
    };

    public static bool Contains(object? container, object? item) => container switch
    {
        string s => item is string part
            ? s.Contains(part, StringComparison.Ordinal)
            : throw new TemplateError($"'in <string>' requires string as left operand, not {TypeName(item)}"),
        Mapping m => m.Items.ContainsKey(Mapping.Key(item)),
        Sequence s => s.Items.Any(other => AreEqual(other, item)),
        Undefined => false,
        Generator g => g.Take().Any(other => AreEqual(other, item)),
        _ => throw new TemplateError($"argument of type '{TypeName(container)}' is not iterable"),
    };

    /// <summary>str(value).</summary>
    public static string Text(object? value) => value switch
    {
        string s => s,
        Undefined => "",
        _ => Repr(value),
    };

    /// <summary>repr(value).</summary>
    public static string Repr(object? value)
    {
        if (value is Sequence or Mapping)
        {
            var text = new StringBuilder();
            Write(value, text, 0);
            return text.ToString();
        }
        return value switch
        {
            null => "None",
            true => "True",
            false => "False",
            long l => l.ToString(CultureInfo.InvariantCulture),
            BigInteger i => i.ToString(CultureInfo.InvariantCulture),
            double d => Float(d),
            string s => Quote(s),
            Undefined => "Undefined",
            Namespace => "<Namespace>",
            Callable c => $"<function {c.Name}>",
            _ => $"<{TypeName(value)}>",
        };
    }

    /// <summary>A float as Python writes it: the shortest digits that read back the same, with a point or an exponent.</summary>
    public static string Float(double value)
    {
        if (double.IsNaN(value))
            return "nan";
        if (double.IsInfinity(value))
            return value > 0 ? "inf" : "-inf";
        string shortest = value.ToString("E16", CultureInfo.InvariantCulture);
        int exponent = int.Parse(shortest.AsSpan(shortest.IndexOf('E') + 1), CultureInfo.InvariantCulture);
        shortest = value.ToString("R", CultureInfo.InvariantCulture);
        string digits = shortest.Split('E')[0].TrimStart('-').Replace(".", "").TrimStart('0').TrimEnd('0');
        string sign = double.IsNegative(value) ? "-" : "";
        if (digits.Length == 0)
            return sign + "0.0";
        if (exponent is < -4 or >= 16)
            return $"{sign}{digits[0]}{(digits.Length > 1 ? "." : "")}{digits[1..]}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}";
        if (exponent < 0)
            return $"{sign}0.{new string('0', -exponent - 1)}{digits}";
        digits = digits.PadRight(exponent + 1, '0');
        string fraction = digits[(exponent + 1)..];
        return $"{sign}{digits[..(exponent + 1)]}.{(fraction.Length > 0 ? fraction : "0")}";
    }

    private static void Write(object? value, StringBuilder text, int depth)
    {
        if (depth > 100)
            throw new TemplateError("a value is nested more than 100 levels deep");
        switch (value)
        {
            case Sequence sequence:
                text.Append(sequence.IsTuple ? '(' : '[');
                for (int i = 0; i < sequence.Items.Count; i++)
                {
                    text.Append(i > 0 ? ", " : "");
                    Write(sequence.Items[i], text, depth + 1);
                }
                text.Append(sequence.IsTuple ? sequence.Items.Count == 1 ? ",)" : ")" : "]");
                break;
            case Mapping mapping:
                string separator = "{";
                foreach ((object key, object? item) in mapping.Items)
                {
                    text.Append(separator).Append(Repr(Mapping.Value(key))).Append(": ");
                    Write(item, text, depth + 1);
                    separator = ", ";
                }
                text.Append(mapping.Items.Count == 0 ? "{}" : "}");
                break;
            default:
                text.Append(Repr(value));
                break;
        }
    }

    private static string Quote(string value)
    {
        char quote = value.Contains('\'') && !value.Contains('"') ? '"' : '\'';
        var text = new StringBuilder().Append(quote);
        foreach (Rune rune in value.EnumerateRunes())
        {
            int c = rune.Value;
            if (c == quote || c == '\\')
                text.Append('\\').Append((char)c);
            else if (c is '\n' or '\r' or '\t')
                text.Append('\\').Append(c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
            else if (IsPrintable(rune))
                text.Append(rune.ToString());
            else if (c < 0x100)
                text.Append(CultureInfo.InvariantCulture, $"\\x{c:x2}");
            else if (c < 0x10000)
                text.Append(CultureInfo.InvariantCulture, $"\\u{c:x4}");
            else
                text.Append(CultureInfo.InvariantCulture, $"\\U{c:x8}");
        }
        return text.Append(quote).ToString();
    }

    private static bool IsPrintable(Rune rune) => rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is not (
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned
        or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.SpaceSeparator);
}
