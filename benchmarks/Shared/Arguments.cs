using System.Globalization;

namespace FineTuneCore.Benchmarks;

/// <summary>Options of a benchmark program: --name value, --name value value where several are taken, or --name alone for a switch. What nobody asked for is an error.</summary>
internal sealed class Arguments
{
    private readonly Dictionary<string, List<string>> _values = [];
    private readonly HashSet<string> _asked = [];

    internal Arguments(IEnumerable<string> arguments)
    {
        string? name = null;
        foreach (string argument in arguments)
        {
            if (argument.StartsWith("--", StringComparison.Ordinal))
            {
                name = argument[2..];
                if (!_values.TryAdd(name, [])) throw new ArgumentException($"--{name} was given twice");
            }
            else
            {
                if (name is null) throw new ArgumentException($"'{argument}' belongs to no option");
                _values[name].Add(argument);
            }
        }
    }

    internal bool Has(string name)
    {
        _asked.Add(name);
        return _values.ContainsKey(name);
    }

    /// <summary>Every value of an option; empty when it was not given.</summary>
    internal IReadOnlyList<string> All(string name) => Has(name) ? _values[name] : [];

    internal string Text(string name, string otherwise, params string[] allowed)
    {
        IReadOnlyList<string> given = All(name);
        if (given.Count > 1) throw new ArgumentException($"'{given[1]}' belongs to no option");
        string value = Has(name) ? given.FirstOrDefault("") : otherwise;
        if (allowed.Length > 0 && !allowed.Contains(value)) throw new ArgumentException($"--{name} is '{value}', expected {string.Join(", ", allowed)}");
        return value;
    }

    internal int Number(string name, int otherwise, int least = 1)
    {
        string value = Text(name, otherwise.ToString(CultureInfo.InvariantCulture));
        if (!int.TryParse(value, CultureInfo.InvariantCulture, out int number) || number < least)
            throw new ArgumentException($"--{name} is '{value}', expected a number from {least}");
        return number;
    }

    /// <summary>Call it when every option has been asked for.</summary>
    internal void RefuseOthers()
    {
        string[] unknown = [.. _values.Keys.Except(_asked)];
        if (unknown.Length > 0) throw new ArgumentException($"unknown option --{unknown[0]}, expected {string.Join(", ", _asked.Select(o => $"--{o}"))}");
    }
}
