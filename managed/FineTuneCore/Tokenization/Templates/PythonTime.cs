using System.Globalization;
using System.Text;

namespace FineTuneCore.Tokenization.Templates;

/// <summary>Python's strftime in the C locale.</summary>
internal static class PythonTime
{
    public static string Format(DateTimeOffset time, string format)
    {
        var result = new StringBuilder();
        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%' || i + 1 == format.Length)
            {
                result.Append(format[i]);
                continue;
            }
            bool unpadded = format[i + 1] == '-' && i + 2 < format.Length;
            i += unpadded ? 2 : 1;
            string text = Part(time, format[i]);
            result.Append(unpadded ? text.TrimStart('0') is { Length: > 0 } short_ ? short_ : "0" : text);
        }
        return result.ToString();
    }

    private static string Part(DateTimeOffset time, char code) => code switch
    {
        'Y' => By(time, "yyyy"),
        'y' => By(time, "yy"),
        'm' => By(time, "MM"),
        'd' => By(time, "dd"),
        'e' => time.Day.ToString(CultureInfo.InvariantCulture).PadLeft(2),
        'B' => By(time, "MMMM"),
        'b' or 'h' => By(time, "MMM"),
        'A' => By(time, "dddd"),
        'a' => By(time, "ddd"),
        'H' => By(time, "HH"),
        'I' => By(time, "hh"),
        'M' => By(time, "mm"),
        'S' => By(time, "ss"),
        'f' => By(time, "ffffff"),
        'p' => By(time, "tt"),
        'j' => time.DayOfYear.ToString("000", CultureInfo.InvariantCulture),
        'w' => ((int)time.DayOfWeek).ToString(CultureInfo.InvariantCulture),
        'u' => (time.DayOfWeek == DayOfWeek.Sunday ? 7 : (int)time.DayOfWeek).ToString(CultureInfo.InvariantCulture),
        'F' => By(time, "yyyy-MM-dd"),
        'T' or 'X' => By(time, "HH:mm:ss"),
        'R' => By(time, "HH:mm"),
        'D' or 'x' => By(time, "MM'/'dd'/'yy"),
        'c' => $"{By(time, "ddd MMM")} {time.Day,2} {By(time, "HH:mm:ss yyyy")}",
        'U' => Week(time, DayOfWeek.Sunday),
        'W' => Week(time, DayOfWeek.Monday),
        'V' => ISOWeek.GetWeekOfYear(time.DateTime).ToString("00", CultureInfo.InvariantCulture),
        'G' => ISOWeek.GetYear(time.DateTime).ToString(CultureInfo.InvariantCulture),
        's' => time.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture),
        'z' or 'Z' => "", // The time is given without a zone.
        'n' => "\n",
        't' => "\t",
        '%' => "%",
        _ => throw new TemplateError($"strftime_now: unknown format code %{code}"),
    };

    private static string By(DateTimeOffset time, string format) => time.ToString(format.Length == 1 ? "%" + format : format, CultureInfo.InvariantCulture);

    private static string Week(DateTimeOffset time, DayOfWeek first)
    {
        int sinceFirst = ((int)time.DayOfWeek - (int)first + 7) % 7;
        return ((time.DayOfYear + 6 - sinceFirst) / 7).ToString("00", CultureInfo.InvariantCulture);
    }
}
