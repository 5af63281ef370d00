using System.Numerics;

namespace FineTuneCore.Tokenization.Templates;

/// <summary>Filters on lists, dicts and strings as collections.</summary>
internal static class CollectionFilters
{
    private static readonly HashSet<string> s_names =
    [
        "length", "count", "first", "last", "list", "join", "reverse", "sort", "unique", "sum", "min", "max", "batch", "slice", "map", "select",
        "reject", "selectattr", "rejectattr", "items", "dictsort", "groupby", "attr",
    ];

    public static bool Exists(string name) => s_names.Contains(name);

    public static bool TryApply(string name, object? value, Arguments arguments, out object? result)
    {
        result = null;
        if (!Exists(name))
            return false;
        result = name switch
        {
            "length" or "count" => (long)Python.Length(value),
            "first" => Python.Iterate(value) is [var first, ..] ? first : new Undefined("No first item, sequence was empty."),
            "last" => value is Generator ? throw Filters.Needs(name, "a list", value) : Python.Iterate(value) is [.., var last] ? last : new Undefined("No last item, sequence was empty."),
            "list" => new Sequence([.. Python.Iterate(value)]),
            "join" => Join(value, arguments),
            "reverse" => value is string text ? string.Concat(Python.Iterate(text).Reverse()) : new Generator([.. Python.Iterate(value).Reverse()]),
            "sort" => Sort(value, arguments),
            "unique" => Unique(value, arguments),
            "sum" => Sum(value, arguments),
            "min" => Extreme(value, arguments, -1),
            "max" => Extreme(value, arguments, 1),
            "batch" => Batch(value, arguments),
            "slice" => Slice(value, arguments),
            "map" => Map(value, arguments),
            "select" => Select(value, arguments, keep: true, byAttribute: false),
            "reject" => Select(value, arguments, keep: false, byAttribute: false),
            "selectattr" => Select(value, arguments, keep: true, byAttribute: true),
            "rejectattr" => Select(value, arguments, keep: false, byAttribute: true),
            "items" => value is Undefined ? new Generator([]) : value is Mapping ? new Generator(((Sequence)Call(value, "items")!).Items) : throw Filters.Needs(name, "a mapping", value),
            "dictsort" => DictSort(value, arguments),
            "groupby" => GroupBy(value, arguments),
            _ => Members.AttributeOnly(value, arguments.Text("name")),
        };
        return true;
    }

    private static object? Call(object? value, string method) => ((Callable)Members.Attribute(value, method)!).Invoke(Arguments.None(method));

    private static string Join(object? value, Arguments arguments)
    {
        string separator = Python.Text(arguments.Next("d", ""));
        Func<object?, object?> attribute = Attribute(arguments.Next("attribute", null));
        List<string> parts = [.. Python.Iterate(value).Select(item => Python.Text(attribute(item)))];
        return Limits.Checked(parts.Sum(part => (long)part.Length + separator.Length), () => string.Join(separator, parts));
    }

    // An attribute path as filters take it: "a.b", or an index.
    private static Func<object?, object?> Attribute(object? path)
    {
        if (path is null)
            return item => item;
        if (path is not string text)
            return item => Members.Item(item, path);
        string[] parts = text.Split('.');
        return item => parts.Aggregate(item, (current, part) => Members.Item(current, long.TryParse(part, out long index) ? index : part));
    }

    private static Func<object?, object?> Key(object? attribute, bool caseSensitive)
    {
        Func<object?, object?> find = Attribute(attribute);
        return item => find(item) is var key && key is string text && !caseSensitive ? text.ToLowerInvariant() : find(item);
    }

    private static Sequence Sort(object? value, Arguments arguments)
    {
        bool reverse = arguments.Flag("reverse", false);
        bool caseSensitive = arguments.Flag("case_sensitive", false);
        string? attribute = arguments.Next("attribute", null) is { } path ? Python.Text(path) : null;
        List<Func<object?, object?>> keys = attribute is null
            ? [Key(null, caseSensitive)]
            : [.. attribute.Split(',').Select(part => Key(part.Trim(), caseSensitive))];
        var comparer = Comparer<object?>.Create((a, b) => keys.Select(key => Python.Compare(key(a), key(b), "<")).FirstOrDefault(order => order != 0));
        return new Sequence(Sorted(Python.Iterate(value), comparer, reverse));
    }

    private static List<object?> Sorted(IReadOnlyList<object?> items, IComparer<object?> comparer, bool reverse)
    {
        try
        {
            return [.. reverse ? items.OrderDescending(comparer) : items.Order(comparer)];
        }
        catch (InvalidOperationException e) when (e.InnerException is TemplateError error)
        {
            throw error; // The sort wraps what its comparer throws.
        }
    }

    private static Generator Unique(object? value, Arguments arguments)
    {
        bool caseSensitive = arguments.Flag("case_sensitive", false);
        Func<object?, object?> key = Key(arguments.Next("attribute", null), caseSensitive);
        var seen = new HashSet<object>(PythonComparer.Instance);
        return new Generator([.. Python.Iterate(value).Where(item => seen.Add(Mapping.Key(key(item))))]);
    }

    private static object? Sum(object? value, Arguments arguments)
    {
        Func<object?, object?> attribute = Attribute(arguments.Next("attribute", null));
        object? start = arguments.Next("start", 0L);
        return Python.Iterate(value).Aggregate(start, (sum, item) => Operators.Apply("+", sum, attribute(item)));
    }

    private static object? Extreme(object? value, Arguments arguments, int sign)
    {
        bool caseSensitive = arguments.Flag("case_sensitive", false);
        Func<object?, object?> key = Key(arguments.Next("attribute", null), caseSensitive);
        IReadOnlyList<object?> items = Python.Iterate(value);
        if (items.Count == 0)
            return new Undefined("No aggregated item, sequence was empty.");
        return items.Aggregate((best, item) => Python.Compare(key(item), key(best), "<") * sign > 0 ? item : best);
    }

    private static Generator Batch(object? value, Arguments arguments)
    {
        int size = (int)arguments.Integer("linecount", 0);
        bool fills = arguments.TryNext("fill_with", out object? fill) && fill is not null;
        if (size < 1)
            throw new TemplateError("batch: the size must be 1 or more");
        var result = new List<object?>();
        foreach (object?[] chunk in Python.Iterate(value).Chunk(size))
            result.Add(new Sequence(fills ? [.. chunk, .. Enumerable.Repeat(fill, size - chunk.Length)] : chunk));
        return new Generator(result);
    }

    private static Generator Slice(object? value, Arguments arguments)
    {
        int slices = (int)arguments.Integer("slices", 0);
        bool fills = arguments.TryNext("fill_with", out object? fill) && fill is not null;
        if (slices is < 1 or > Limits.Range)
            throw new TemplateError("slice: the number of slices must be 1 or more");
        IReadOnlyList<object?> items = Python.Iterate(value);
        int size = items.Count / slices;
        int longer = items.Count % slices;
        var result = new List<object?>();
        int start = 0;
        for (int i = 0; i < slices; i++)
        {
            int count = size + (i < longer ? 1 : 0);
            List<object?> slice = [.. items.Skip(start).Take(count)];
            if (fills && i >= longer)
                slice.Add(fill);
            result.Add(new Sequence(slice));
            start += count;
        }
        return new Generator(result);
    }

    // map and select look at nothing that is false, be it None, 0 or an empty string.
    private static IReadOnlyList<object?> IterateTrue(object? value) => Python.IsTrue(value) ? Python.Iterate(value) : [];

    private static Generator Map(object? value, Arguments arguments)
    {
        IReadOnlyList<object?> items = IterateTrue(value);
        if (arguments.Positional.Count == 0)
        {
            object? path = arguments.Next("attribute", null) ?? throw new TemplateError("map requires a filter argument");
            object? fallback = arguments.Next("default", null);
            Func<object?, object?> attribute = Attribute(path);
            return new Generator([.. items.Select(item => attribute(item) is var found && found is Undefined && fallback is not null ? fallback : found)]);
        }
        string filter = arguments.Text("filter");
        Arguments rest = arguments.Remaining(filter);
        foreach (string name in rest.Named.Keys)
            arguments.Next(name, null);
        return new Generator([.. items.Select(item => Filters.Apply(filter, item, new Arguments(filter, [.. rest.Positional], new(rest.Named))))]);
    }

    private static Generator Select(object? value, Arguments arguments, bool keep, bool byAttribute)
    {
        Func<object?, object?> subject = byAttribute ? Attribute(arguments.Required("attribute")) : item => item;
        string? test = arguments.Next("test", null) as string;
        List<object?> rest = arguments.Rest();
        return new Generator([.. IterateTrue(value).Where(item => keep
            == (test is null ? Python.IsTrue(subject(item)) : Tests.Apply(test, subject(item), new Arguments(test, [.. rest], []))))]);
    }

    private static Sequence DictSort(object? value, Arguments arguments)
    {
        if (value is not Mapping mapping)
            throw Filters.Needs("dictsort", "a mapping", value);
        bool caseSensitive = arguments.Flag("case_sensitive", false);
        string by = arguments.Text("by", "key");
        bool reverse = arguments.Flag("reverse", false);
        if (by is not ("key" or "value"))
            throw new TemplateError("You can only sort by either \"key\" or \"value\"");
        Func<object?, object?> key = Key(by == "key" ? 0L : 1L, caseSensitive);
        var comparer = Comparer<object?>.Create((a, b) => Python.Compare(key(a), key(b), "<"));
        IReadOnlyList<object?> items = ((Sequence)Call(mapping, "items")!).Items;
        return new Sequence(Sorted(items, comparer, reverse));
    }

    private static Sequence GroupBy(object? value, Arguments arguments)
    {
        object? path = arguments.Required("attribute");
        object? fallback = arguments.Next("default", null);
        bool caseSensitive = arguments.Flag("case_sensitive", false);
        Func<object?, object?> attribute = Attribute(path);
        object? Find(object? item) => attribute(item) is var found && found is Undefined && fallback is not null ? fallback : found;
        object? Fold(object? key) => key is string text && !caseSensitive ? text.ToLowerInvariant() : key;
        var comparer = Comparer<object?>.Create((a, b) => Python.Compare(Fold(Find(a)), Fold(Find(b)), "<"));
        var groups = new List<(object? Key, List<object?> Items)>();
        foreach (object? item in Sorted(Python.Iterate(value), comparer, reverse: false))
        {
            if (groups.Count == 0 || !Python.AreEqual(Fold(groups[^1].Key), Fold(Find(item))))
                groups.Add((Find(item), []));
            groups[^1].Items.Add(item);
        }
        return new Sequence([.. groups.Select(group => new Sequence([group.Key, new Sequence(group.Items)], isTuple: true))]);
    }
}
