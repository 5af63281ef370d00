using System.Globalization;
using System.Text;

namespace FineTuneCore.Tokenization.Templates;

/// <summary>Python's binary and unary operators on the values of a template.</summary>
internal static class Operators
{
    public static object? Apply(string op, object? left, object? right)
    {
        if (left is Undefined u)
            throw u.Error();
        if (op == "%" && left is string format)
            return PercentFormat(format, right);
        if (right is Undefined v)
            throw v.Error();
        if (op == "+" && left is string a && right is string b)
            return Limits.Checked(a.Length + b.Length, () => a + b);
        if (op == "+" && left is Sequence s && right is Sequence t && s.IsTuple == t.IsTuple)
            return Limits.Checked(s.Items.Count + t.Items.Count, () => new Sequence([.. s.Items, .. t.Items], s.IsTuple));
        if (op == "*" && Python.TryInteger(right, out long times) && left is string or Sequence)
            return Repeat(left, times);
        if (op == "*" && Python.TryInteger(left, out times) && right is string or Sequence)
            return Repeat(right, times);
        if (Python.TryInteger(left, out long i) && Python.TryInteger(right, out long j) && op != "/")
            return Integers(op, i, j);
        if (Python.TryNumber(left, out double x) && Python.TryNumber(right, out double y))
            return Floats(op, x, y);
        throw new TemplateError(op == "+" && left is string
            ? $"can only concatenate str (not \"{Python.TypeName(right)}\") to str"
            : $"unsupported operand type(s) for {op}: '{Python.TypeName(left)}' and '{Python.TypeName(right)}'");
    }

    public static object Negate(object? value) => value switch
    {
        Undefined u => throw u.Error(),
        double d => (object)(-d),
        _ when Python.TryInteger(value, out long i) => -i,
        _ => throw new TemplateError($"bad operand type for unary -: '{Python.TypeName(value)}'"),
    };

    public static object Plus(object? value) => value switch
    {
        Undefined u => throw u.Error(),
        double d => (object)d,
        _ when Python.TryInteger(value, out long i) => i,
        _ => throw new TemplateError($"bad operand type for unary +: '{Python.TypeName(value)}'"),
    };

    private static object Repeat(object? value, long times)
    {
        times = Math.Max(times, 0);
        return value is string s
            ? Limits.Checked(s.Length * times, () => new StringBuilder().Insert(0, s, (int)times).ToString())
            : Limits.Checked(((Sequence)value!).Items.Count * times, () => new Sequence(
                [.. Enumerable.Repeat(((Sequence)value).Items, (int)times).SelectMany(items => items)], ((Sequence)value).IsTuple));
    }

    private static object Integers(string op, long left, long right)
    {
        if (right == 0 && op is "//" or "%")
            throw new TemplateError("integer division or modulo by zero");
        try
        {
            return op switch
            {
                "+" => (object)checked(left + right),
                "-" => checked(left - right),
                "*" => checked(left * right),
                "//" => FloorDivide(left, right),
                "%" => left - checked(FloorDivide(left, right) * right),
                "**" when right < 0 => left == 0 ? throw new TemplateError("0 cannot be raised to a negative power") : Math.Pow(left, right),
                "**" => Power(left, right),
                _ => throw new TemplateError($"unknown operator {op}"),
            };
        }
        catch (OverflowException)
        {
            throw new TemplateError($"{left} {op} {right} does not fit 64 bits");
        }
    }

    private static long FloorDivide(long left, long right)
    {
        long quotient = checked(left / right);
        return left % right != 0 && (left < 0) != (right < 0) ? quotient - 1 : quotient;
    }

    private static long Power(long value, long exponent)
    {
        if (value is 0 or 1 || exponent == 0)
            return exponent == 0 ? 1 : value;
        if (value == -1)
            return exponent % 2 == 0 ? 1 : -1;
        long result = 1;
        for (long i = 0; i < exponent; i++)
            result = checked(result * value);
        return result;
    }

    private static object Floats(string op, double left, double right)
    {
        if (right == 0 && op is "/" or "//" or "%")
            throw new TemplateError("division by zero");
        return op switch
        {
            "+" => left + right,
            "-" => left - right,
            "*" => left * right,
            "/" => left / right,
            "//" => Math.Floor((left - Modulo(left, right)) / right),
            "%" => Modulo(left, right),
            "**" => Math.Pow(left, right),
            _ => throw new TemplateError($"unknown operator {op}"),
        };
    }

    // The exact remainder, with the sign of the divisor.
    private static double Modulo(double left, double right)
    {
        double rest = left % right;
        return rest != 0 && (rest < 0) != (right < 0) ? rest + right : rest;
    }

    /// <summary>Python's "…" % values, with the conversions s r d i f F e g x X c and %.</summary>
    public static string PercentFormat(string format, object? values)
    {
        IReadOnlyList<object?> items = values is Sequence { IsTuple: true } tuple ? tuple.Items : [values];
        var result = new StringBuilder();
        int used = 0;
        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%')
            {
                result.Append(format[i]);
                continue;
            }
            int start = ++i;
            object? named = null;
            bool hasName = i < format.Length && format[i] == '(';
            if (hasName)
            {
                int close = format.IndexOf(')', i);
                if (close < 0 || values is not Mapping mapping)
                    throw new TemplateError("format requires a mapping");
                string key = format[(i + 1)..close];
                named = mapping.Items.TryGetValue(key, out object? found) ? found : throw new TemplateError($"no key {key} to format");
                start = i = close + 1;
            }
            while (i < format.Length && format[i] is '-' or '+' or ' ' or '0' or '.' or '#' or (>= '1' and <= '9'))
                i++;
            if (i >= format.Length)
                throw new TemplateError("incomplete format");
            if (format[i] == '%')
            {
                result.Append('%');
                continue;
            }
            if (!hasName && used >= items.Count)
                throw new TemplateError("not enough arguments for format string");
            result.Append(Conversion(format[start..i], format[i], hasName ? named : items[used++]));
        }
        if (used < items.Count && values is not (Mapping or Sequence { IsTuple: false }))
            throw new TemplateError("not all arguments converted during string formatting");
        return result.ToString();
    }

    private static string Conversion(string flags, char kind, object? value)
    {
        string spec = flags.TrimStart('-', '+', ' ', '0', '#');
        string[] parts = spec.Split('.');
        int? precision = parts.Length > 1 ? int.TryParse(parts[1], out int p) ? p : 0 : null;
        if (precision > 1000)
            throw new TemplateError($"a precision of {precision} digits is over the limit of 1000");
        string head = flags[..(flags.Length - spec.Length)];
        string text = kind switch
        {
            's' => Python.Text(value),
            'r' => Python.Repr(value),
            'd' or 'i' when Python.TryNumber(value, out double d) => Math.Truncate(d).ToString("F0", CultureInfo.InvariantCulture),
            'f' or 'F' when Python.TryNumber(value, out double d) => d.ToString("F" + (precision ?? 6), CultureInfo.InvariantCulture),
            'e' when Python.TryNumber(value, out double d) => d.ToString(
                precision == 0 ? "0e+00" : $"0.{new string('0', precision ?? 6)}e+00", CultureInfo.InvariantCulture),
            'g' when Python.TryNumber(value, out double d) => d.ToString("G" + (precision ?? 6), CultureInfo.InvariantCulture),
            'x' or 'X' when Python.TryInteger(value, out long l) => l.ToString(kind.ToString(), CultureInfo.InvariantCulture),
            _ => throw new TemplateError($"%{kind} cannot format a {Python.TypeName(value)}"),
        };
        if (kind is 's' or 'r' && precision is { } cut && cut < text.Length)
            text = text[..cut];
        if (kind is not ('s' or 'r') && !text.StartsWith('-'))
            text = head.Contains('+') ? "+" + text : head.Contains(' ') ? " " + text : text;
        int width = int.TryParse(parts[0], out int w) ? Limits.Checked(w, () => w) : 0;
        if (head.Contains('-'))
            return text.PadRight(width);
        if (!head.Contains('0') || kind is 's' or 'r')
            return text.PadLeft(width);
        int sign = text.Length > 0 && text[0] is '-' or '+' ? 1 : 0;
        return text[..sign] + text[sign..].PadLeft(width - sign, '0');
    }
}
