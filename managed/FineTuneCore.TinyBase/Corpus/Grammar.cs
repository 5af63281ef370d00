namespace FineTuneCore.TinyBase.Corpus;

/// <summary>
/// Writes texts by rules. A line <c>name:</c> begins a rule; the lines below it hold its alternatives, several a line parted by " | ".
/// A line that begins with <c>N*</c> counts N times. In an alternative, a slot is
/// <c>{rule}</c> (any alternative), <c>{x=rule}</c> (the same, remembered as x; unlike what was remembered so far), or <c>{x}</c> (what is
/// remembered). A slash parts the fields of an entry, <c>{x.1}</c> takes the second one; <c>{^…}</c> begins with a capital, <c>{@…}</c> with a or an.
/// </summary>
internal sealed class Grammar
{
    private const int MostTriesForAnother = 20;
    private readonly Dictionary<string, List<string>> _rules = new(StringComparer.Ordinal);

    /// <summary>The rules of all given texts together.</summary>
    internal Grammar(params IEnumerable<string> sources)
    {
        foreach (string source in sources) Add(source);
        if (Unknown() is { } unknown) throw new FormatException(unknown);
    }

    /// <summary>All grammars that are part of this program.</summary>
    internal static Grammar LoadAll()
    {
        System.Reflection.Assembly assembly = typeof(Grammar).Assembly;
        return new Grammar(assembly.GetManifestResourceNames().Where(n => n.StartsWith("grammar/", StringComparison.Ordinal)).Order(StringComparer.Ordinal).Select(Read));

        string Read(string name)
        {
            using var reader = new StreamReader(assembly.GetManifestResourceStream(name)!);
            return reader.ReadToEnd();
        }
    }

    /// <summary>One text of a rule.</summary>
    internal string Write(string rule, ref SplitMix64 random) => Expand(Pick(rule, ref random), new Dictionary<string, string>(), ref random);

    private void Add(string source)
    {
        List<string>? alternatives = null;
        foreach (string raw in source.Split('\n'))
        {
            string line = raw.Trim();
            if (line.Length == 0 || line[0] == '#') continue;
            if (line[^1] == ':' && !line.Contains(' '))
            {
                if (!_rules.TryAdd(line[..^1], alternatives = [])) throw new FormatException($"the rule {line} is there twice");
                continue;
            }

            if (alternatives is null) throw new FormatException($"'{line}' stands before the first rule");
            int weight = 1;
            int star = line.IndexOf('*', StringComparison.Ordinal);
            if (star is 1 or 2 && int.TryParse(line.AsSpan(0, star), out int given)) (weight, line) = (given, line[(star + 1)..].Trim());
            for (int i = 0; i < weight; i++) alternatives.AddRange(line.Split(" | ", StringSplitOptions.TrimEntries));
        }
    }

    private string Pick(string rule, ref SplitMix64 random)
    {
        List<string> alternatives = _rules[rule];
        return alternatives[random.NextBelow(alternatives.Count)];
    }

    private string Expand(string text, Dictionary<string, string> remembered, ref SplitMix64 random)
    {
        int open = text.IndexOf('{', StringComparison.Ordinal);
        if (open < 0) return text.Replace("\\n", "\n", StringComparison.Ordinal);
        var result = new System.Text.StringBuilder();
        int at = 0;
        while (open >= 0)
        {
            int close = text.IndexOf('}', open);
            result.Append(text, at, open - at);
            result.Append(Fill(Slot.Parse(text[(open + 1)..close]), remembered, ref random));
            at = close + 1;
            open = text.IndexOf('{', at);
        }

        return result.Append(text, at, text.Length - at).ToString().Replace("\\n", "\n", StringComparison.Ordinal);
    }

    private string Fill(Slot slot, Dictionary<string, string> remembered, ref SplitMix64 random)
    {
        string value;
        if (slot.Variable is { } variable)
        {
            if (!remembered.TryGetValue(variable, out value!)) remembered[variable] = value = Another(slot.Rule!, remembered, ref random);
        }
        else if (!remembered.TryGetValue(slot.Rule!, out value!))
        {
            value = Expand(Pick(slot.Rule!, ref random), remembered, ref random);
        }

        string[] fields = value.Split('/');
        value = fields[Math.Min(slot.Field, fields.Length - 1)];
        if (slot.Article) value = ("aeiou".Contains(char.ToLowerInvariant(value[0]), StringComparison.Ordinal) ? "an " : "a ") + value;
        return slot.Capital ? char.ToUpperInvariant(value[0]) + value[1..] : value;
    }

    private string Another(string rule, Dictionary<string, string> remembered, ref SplitMix64 random)
    {
        string value = "";
        for (int i = 0; i < MostTriesForAnother; i++)
        {
            value = Expand(Pick(rule, ref random), remembered, ref random);
            if (!remembered.ContainsValue(value)) break;
        }

        return value;
    }

    /// <summary>What is wrong with the slots of the rules, or null.</summary>
    private string? Unknown()
    {
        HashSet<string> known = [.. _rules.Keys];
        foreach (Slot slot in Slots()) if (slot.Variable is { } variable) known.Add(variable);
        foreach (Slot slot in Slots())
            if (!known.Contains(slot.Rule!)) return $"no rule and no variable is called {slot.Rule}";
        return null;
    }

    private IEnumerable<Slot> Slots() =>
        from alternative in _rules.Values.SelectMany(a => a)
        from part in alternative.Split('{').Skip(1)
        select Slot.Parse(part[..part.IndexOf('}', StringComparison.Ordinal)]);

    private readonly record struct Slot(string? Variable, string? Rule, int Field, bool Capital, bool Article)
    {
        internal static Slot Parse(string text)
        {
            bool capital = text.StartsWith('^');
            if (capital) text = text[1..];
            bool article = text.StartsWith('@');
            if (article) text = text[1..];
            int field = 0;
            if (text is [.., '.', >= '0' and <= '9'])
            {
                field = text[^1] - '0';
                text = text[..^2];
            }

            int equals = text.IndexOf('=', StringComparison.Ordinal);
            return equals < 0 ? new Slot(null, text, field, capital, article) : new Slot(text[..equals], text[(equals + 1)..], field, capital, article);
        }
    }
}
