namespace FineTuneCore.Tokenization.Templates;

/// <summary>The arguments of a call: by position and by name. Each is taken once; <see cref="Done"/> refuses what was not taken.</summary>
internal sealed class Arguments(string function, List<object?> positional, Dictionary<string, object?> named)
{
    private readonly HashSet<string> _taken = [];
    private int _next;

    public static Arguments None(string function) => new(function, [], []);

    public string Function { get; } = function;

    public IReadOnlyList<object?> Positional => positional;

    public IReadOnlyDictionary<string, object?> Named => named;

    /// <summary>Takes the next argument, by position or name; false where the caller gave none.</summary>
    public bool TryNext(string name, out object? value)
    {
        if (_next < positional.Count)
        {
            value = positional[_next++];
            return true;
        }
        _next++;
        return named.TryGetValue(name, out value) && _taken.Add(name);
    }

    public object? Next(string name, object? fallback) => TryNext(name, out object? value) ? value : fallback;

    public object? Required(string name) =>
        TryNext(name, out object? value) ? value : throw new TemplateError($"{Function}() needs the argument {name}");

    public string Text(string name) => Required(name) is string text ? text : throw Wrong(name, "a string");

    public string Text(string name, string fallback) => Next(name, fallback) is string text ? text : throw Wrong(name, "a string");

    public long Integer(string name, long fallback) => Python.TryInteger(Next(name, fallback), out long value) ? value : throw Wrong(name, "an integer");

    public bool Flag(string name, bool fallback) => Python.IsTrue(Next(name, fallback));

    /// <summary>What is left of the positional arguments.</summary>
    public List<object?> Rest()
    {
        List<object?> rest = positional.Skip(_next).ToList();
        _next = positional.Count;
        return rest;
    }

    /// <summary>The arguments from here on, for another function.</summary>
    public Arguments Remaining(string function) =>
        new(function, Rest(), named.Where(pair => !_taken.Contains(pair.Key)).ToDictionary(pair => pair.Key, pair => pair.Value));

    public void Done()
    {
        if (_next < positional.Count)
            throw new TemplateError($"{Function}() got {positional.Count} arguments, expected at most {_next}");
        string? unknown = named.Keys.FirstOrDefault(name => !_taken.Contains(name));
        if (unknown is not null)
            throw new TemplateError($"{Function}() has no argument {unknown}");
    }

    private TemplateError Wrong(string name, string expected) => new($"{Function}(): {name} is not {expected}");
}
