using System.Text;

namespace FineTuneCore.Tokenization.Templates;

/// <summary>Attributes, items and slices, with Jinja's rule that one stands in for the other.</summary>
internal static class Members
{
    /// <summary>value.name: the attribute or method, else the item of that name.</summary>
    public static object? Attribute(object? value, string name)
    {
        object? found = AttributeOnly(value, name);
        return found is Undefined && value is Mapping items && items.Items.TryGetValue(name, out object? item) ? item : found;
    }

    /// <summary>The attribute or method, never an item.</summary>
    public static object? AttributeOnly(object? value, string name)
    {
        if (value is Undefined undefined)
            throw undefined.Error();
        object? found = value switch
        {
            string text => StringMethods.Find(text, name),
            Mapping mapping => CollectionMethods.Find(mapping, name),
            Sequence sequence => CollectionMethods.Find(sequence, name),
            Namespace ns => ns.Attributes.TryGetValue(name, out object? attribute) ? attribute ?? NoneFound.Instance : null,
            LoopState loop => loop.Attribute(name),
            _ => null,
        };
        return found is null ? Missing(value, name) : found is NoneFound ? null : found;
    }

    /// <summary>value[key]: the item, else the attribute of that name.</summary>
    public static object? Item(object? value, object? key)
    {
        switch (value)
        {
            case Undefined undefined:
                throw undefined.Error();
            case Mapping mapping when mapping.Items.TryGetValue(Mapping.Key(key), out object? item):
                return item;
            case Sequence sequence when Python.TryInteger(key, out long index):
                return index < 0 ? At(sequence.Items, index + sequence.Items.Count, value, key) : At(sequence.Items, index, value, key);
            case string text when Python.TryInteger(key, out long index):
                IReadOnlyList<object?> characters = Python.Iterate(text);
                return At(characters, index < 0 ? index + characters.Count : index, value, key);
        }
        return key is string name ? Attribute(value, name) : Missing(value, key);
    }

    /// <summary>What a path such as <c>.name[0]</c> leads to.</summary>
    public static object? Path(object? value, string path)
    {
        foreach (string part in path.Replace("[", ".[").Split('.', StringSplitOptions.RemoveEmptyEntries))
        {
            string key = part.TrimStart('[').TrimEnd(']');
            value = !part.StartsWith('[') ? Attribute(value, key) : Item(value, long.TryParse(key, out long index) ? index : key);
        }
        return value;
    }

    public static object? Slice(object? value, object? start, object? stop, object? step)
    {
        if (value is Undefined undefined)
            throw undefined.Error();
        if (value is not (string or Sequence))
            throw new TemplateError($"'{Python.TypeName(value)}' object cannot be sliced");
        IReadOnlyList<object?> items = Python.Iterate(value);
        long by = step is null ? 1 : Index(step);
        if (by == 0)
            throw new TemplateError("slice step cannot be zero");
        long from = Bound(start, by > 0 ? 0 : items.Count - 1, items.Count, by);
        long to = Bound(stop, by > 0 ? items.Count : -1, items.Count, by);
        var result = new List<object?>();
        for (long i = from; by > 0 ? i < to : i > to; i += by)
            result.Add(items[(int)i]);
        if (value is not string)
            return new Sequence(result, ((Sequence)value).IsTuple);
        var text = new StringBuilder();
        foreach (object? part in result)
            text.Append((string)part!);
        return text.ToString();
    }

    private static long Bound(object? bound, long fallback, int count, long step)
    {
        if (bound is null)
            return fallback;
        long index = Index(bound);
        if (index < 0)
            index += count;
        return step > 0 ? Math.Clamp(index, 0, count) : Math.Clamp(index, -1, count - 1);
    }

    private static long Index(object? value) => value is Undefined undefined
        ? throw undefined.Error()
        : Python.TryInteger(value, out long index) ? index : throw new TemplateError("slice indices must be integers or None");

    private static object? At(IReadOnlyList<object?> items, long index, object? value, object? key) =>
        index >= 0 && index < items.Count ? items[(int)index] : Missing(value, key);

    private static Undefined Missing(object? value, object? key) => new(key is string name
        ? $"'{(value is null ? "None" : Python.TypeName(value) + " object")}' has no attribute '{name}'"
        : $"{Python.TypeName(value)} object has no element {Python.Repr(key)}");

    /// <summary>An attribute that is there and None.</summary>
    private sealed class NoneFound
    {
        public static NoneFound Instance { get; } = new();
    }
}
