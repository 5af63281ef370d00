namespace FineTuneCore.Tokenization.Templates;

/// <summary>Methods of Python's dict and list that only read; those that change are refused, as transformers' sandbox does.</summary>
internal static class CollectionMethods
{
    public static Callable? Find(Mapping mapping, string name)
    {
        return name switch
        {
            "items" => Method(name, _ => new Sequence([.. mapping.Items.Select(pair => new Sequence([Mapping.Value(pair.Key), pair.Value], isTuple: true))])),
            "keys" => Method(name, _ => new Sequence([.. mapping.Keys])),
            "values" => Method(name, _ => new Sequence([.. mapping.Items.Values])),
            "get" => Method(name, a => mapping.Items.TryGetValue(Mapping.Key(a.Required("key")), out object? value)
                ? Ignore(a, value)
                : a.Next("default", null)),
            "copy" => Method(name, _ => mapping),
            "update" or "pop" or "popitem" or "clear" or "setdefault" => Refused(name),
            _ => null,
        };

        static object? Ignore(Arguments arguments, object? value)
        {
            arguments.Next("default", null);
            return value;
        }
    }

    public static Callable? Find(Sequence sequence, string name) => name switch
    {
        "index" => Method(name, a =>
        {
            object? item = a.Required("value");
            for (int i = 0; i < sequence.Items.Count; i++)
                if (Python.AreEqual(sequence.Items[i], item))
                    return (long)i;
            throw new TemplateError($"{Python.Repr(item)} is not in list");
        }),
        "count" => Method(name, a => a.Required("value") is var item ? (long)sequence.Items.Count(other => Python.AreEqual(other, item)) : 0L),
        "copy" => Method(name, _ => sequence),
        "append" or "extend" or "insert" or "pop" or "remove" or "reverse" or "sort" or "clear" => Refused(name),
        _ => null,
    };

    private static Callable Method(string name, Func<Arguments, object?> body) => new(name, arguments =>
    {
        object? result = body(arguments);
        arguments.Done();
        return result;
    });

    private static Callable Refused(string name) =>
        new(name, _ => throw new TemplateError($"{name}() changes a value, which the sandbox of chat templates does not allow; build a new one with + or a namespace"));
}
