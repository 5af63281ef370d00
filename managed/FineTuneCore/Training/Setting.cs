using System.Globalization;

namespace FineTuneCore.Training;

/// <summary>
/// One option of a run, declared once: its YAML key, its flag, its help, how text becomes its value and how its value becomes text.
/// </summary>
internal sealed class Setting
{
    private Setting(string key, string help, Func<FineTuneOptions, string?> get, Action<FineTuneOptions, string> set, bool isSwitch)
    {
        (Key, Help, Get, _set, IsSwitch) = (key, help, get, set, isSwitch);
    }

    private readonly Action<FineTuneOptions, string> _set;

    /// <summary>snake_case, as in the YAML file.</summary>
    internal string Key { get; }

    /// <summary>kebab-case, as on the command line.</summary>
    internal string Flag => $"--{Key.Replace('_', '-')}";

    /// <summary>What it does, unit, range, default.</summary>
    internal string Help { get; }

    /// <summary>The value as text; null when it is still to be chosen.</summary>
    internal Func<FineTuneOptions, string?> Get { get; }

    /// <summary>A flag without a value means true.</summary>
    internal bool IsSwitch { get; }

    /// <summary>Parses and sets.</summary>
    /// <exception cref="FineTuneException">The text is not a value; says where, what was expected.</exception>
    internal void Set(FineTuneOptions options, string text, string where)
    {
        try
        {
            _set(options, text.Trim());
        }
        catch (FormatException e)
        {
            throw FineTuneException.Usage($"{where}: {Key} is '{text}', expected {e.Message}.");
        }
    }

    internal static Setting Text(string key, string help, Func<FineTuneOptions, string?> get, Action<FineTuneOptions, string> set) =>
        new(key, help, get, (o, t) => set(o, t), false);

    internal static Setting Switch(string key, string help, Func<FineTuneOptions, bool> get, Action<FineTuneOptions, bool> set) =>
        new(key, help, o => get(o) ? "true" : "false", (o, t) => set(o, t.ToLowerInvariant() switch
        {
            "true" or "yes" or "on" or "" => true,
            "false" or "no" or "off" => false,
            _ => throw new FormatException("true or false"),
        }), true);

    internal static Setting Integer(string key, string help, long minimum, long maximum, Func<FineTuneOptions, long?> get, Action<FineTuneOptions, long> set) =>
        new(key, help, o => get(o)?.ToString(CultureInfo.InvariantCulture), (o, t) =>
            set(o, long.TryParse(t, NumberStyles.Integer, CultureInfo.InvariantCulture, out long n) && n >= minimum && n <= maximum
                ? n : throw new FormatException(maximum >= int.MaxValue ? $"a whole number from {minimum}" : $"a whole number from {minimum} to {maximum}")), false);

    internal static Setting Number(
        string key, string help, double minimum, double maximum, Func<FineTuneOptions, double?> get, Action<FineTuneOptions, double> set) =>
        new(key, help, o => get(o)?.ToString("R", CultureInfo.InvariantCulture), (o, t) =>
            set(o, double.TryParse(t, NumberStyles.Float, CultureInfo.InvariantCulture, out double n) && n >= minimum && n <= maximum
                ? n : throw new FormatException($"a number from {minimum.ToString(CultureInfo.InvariantCulture)} to {maximum.ToString(CultureInfo.InvariantCulture)}")), false);

    internal static Setting Choice<T>(string key, string help, Func<FineTuneOptions, T> get, Action<FineTuneOptions, T> set)
        where T : struct, Enum =>
        new(key, help, o => get(o).ToString().ToLowerInvariant(), (o, t) =>
            set(o, Enum.TryParse(t, ignoreCase: true, out T value) && Enum.IsDefined(value) && !char.IsDigit(t[0])
                ? value : throw new FormatException(string.Join(", ", Enum.GetNames<T>().Select(n => n.ToLowerInvariant())))), false);

    /// <summary>A choice whose names are not those of its values; Hugging Face's underscores are taken for dashes.</summary>
    internal static Setting Named<T>(string key, string help, (string Name, T Value)[] names, Func<FineTuneOptions, T> get, Action<FineTuneOptions, T> set)
        where T : struct, Enum =>
        new(key, help, o => names.Single(n => n.Value.Equals(get(o))).Name, (o, t) =>
            set(o, names.FirstOrDefault(n => n.Name == t.ToLowerInvariant().Replace('_', '-')) is { Name: not null } found
                ? found.Value : throw new FormatException(string.Join(", ", names.Select(n => n.Name)))), false);

    /// <summary>Text that a check knows to be right or wrong.</summary>
    internal static Setting Checked(
        string key, string help, string expected, Func<string, bool> isRight, Func<FineTuneOptions, string> get, Action<FineTuneOptions, string> set) =>
        new(key, help, get, (o, t) => set(o, isRight(t) ? t : throw new FormatException(expected)), false);

    internal static Setting List(string key, string help, Func<FineTuneOptions, IReadOnlyList<string>> get, Action<FineTuneOptions, IReadOnlyList<string>> set) =>
        new(key, help, o => string.Join(",", get(o)), (o, t) =>
            set(o, t.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)), false);

    /// <summary>Bytes with an optional unit: 8GB, 512MiB, 1.5G.</summary>
    internal static Setting Bytes(string key, string help, Func<FineTuneOptions, long?> get, Action<FineTuneOptions, long> set) =>
        new(key, help, o => get(o)?.ToString(CultureInfo.InvariantCulture), (o, t) => set(o, ParseBytes(t)), false);

    internal static long ParseBytes(string text)
    {
        int digits = text.TakeWhile(c => char.IsAsciiDigit(c) || c == '.').Count();
        double unit = text[digits..].Trim().ToUpperInvariant() switch
        {
            "" or "B" => 1,
            "K" or "KB" => 1e3,
            "M" or "MB" => 1e6,
            "G" or "GB" => 1e9,
            "T" or "TB" => 1e12,
            "KIB" => 1 << 10,
            "MIB" => 1 << 20,
            "GIB" => 1 << 30,
            _ => 0,
        };
        return unit > 0 && double.TryParse(text[..digits], NumberStyles.Float, CultureInfo.InvariantCulture, out double n) && n > 0
            ? (long)(n * unit) : throw new FormatException("a size such as 8GB or 512MiB");
    }
}
