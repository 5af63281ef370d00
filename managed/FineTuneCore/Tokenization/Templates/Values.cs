namespace FineTuneCore.Tokenization.Templates;

// A value of a template is null (None), bool, long, BigInteger, double, string, or one of these.

/// <summary>A Python list or tuple.</summary>
internal sealed class Sequence(IReadOnlyList<object?> items, bool isTuple = false)
{
    public IReadOnlyList<object?> Items { get; } = items;

    public bool IsTuple { get; } = isTuple;
}

/// <summary>A Python generator, which is what filters such as map and select give: always true, without length or items, empty once read.</summary>
internal sealed class Generator(IReadOnlyList<object?> items)
{
    private IReadOnlyList<object?> _rest = items;

    public IReadOnlyList<object?> Take()
    {
        IReadOnlyList<object?> items = _rest;
        _rest = [];
        return items;
    }
}

/// <summary>A Python dict: keys in order of insertion, equal as Python compares them.</summary>
internal sealed class Mapping
{
    public OrderedDictionary<object, object?> Items { get; } = new(PythonComparer.Instance);

    public object? this[string key]
    {
        set => Items[key] = value;
    }

    /// <summary>A key as the dictionary holds it: None is spelled by a marker, since .NET has no null keys.</summary>
    public static object Key(object? value) => value switch
    {
        null => NoneKey.Instance,
        Sequence { IsTuple: false } or Mapping => throw new TemplateError($"a {Python.TypeName(value)} cannot be a key"),
        _ => value,
    };

    public static object? Value(object key) => key is NoneKey ? null : key;

    public IEnumerable<object?> Keys => Items.Keys.Select(Value);

    private sealed class NoneKey
    {
        public static NoneKey Instance { get; } = new();
    }
}

/// <summary>What a name or attribute that is not there evaluates to: prints as nothing, and fails when it is used for more.</summary>
internal sealed class Undefined(string message)
{
    public string Message { get; } = message;

    public TemplateError Error() => new(Message);
}

/// <summary>An object with attributes that {% set ns.x = … %} may change.</summary>
internal sealed class Namespace
{
    public Dictionary<string, object?> Attributes { get; } = [];
}

/// <summary>Something that can be called: a macro, a method, a function.</summary>
internal sealed class Callable(string name, Func<Arguments, object?> body)
{
    public string Name { get; } = name;

    public object? Invoke(Arguments arguments) => body(arguments);
}

/// <summary>Keys compared as Python compares them: 1, 1.0 and True are one key.</summary>
internal sealed class PythonComparer : IEqualityComparer<object>
{
    public static PythonComparer Instance { get; } = new();

    bool IEqualityComparer<object>.Equals(object? x, object? y) => Python.AreEqual(x, y);

    int IEqualityComparer<object>.GetHashCode(object value) => value switch
    {
        bool b => (b ? 1.0 : 0.0).GetHashCode(),
        long l => ((double)l).GetHashCode(),
        Sequence s => s.Items.Aggregate(17, (hash, item) => hash * 31 + (item is null ? 0 : ((IEqualityComparer<object>)this).GetHashCode(item))),
        _ => value.GetHashCode(),
    };
}
