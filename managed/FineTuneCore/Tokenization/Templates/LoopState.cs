namespace FineTuneCore.Tokenization.Templates;

/// <summary>The loop variable inside {% for %}.</summary>
internal sealed class LoopState(IReadOnlyList<object?> items, int depth, Func<object?, string>? recurse)
{
    private List<object?>? _lastChanged;

    public IReadOnlyList<object?> Items { get; } = items;

    public int Index { get; set; }

    public string Recurse(object? value) =>
        recurse is null ? throw new TemplateError("loop(…) needs {% for … recursive %}") : recurse(value);

    public object? Attribute(string name) => name switch
    {
        "index" => (long)Index + 1,
        "index0" => (long)Index,
        "revindex" => (long)Items.Count - Index,
        "revindex0" => (long)Items.Count - Index - 1,
        "first" => Index == 0,
        "last" => Index == Items.Count - 1,
        "length" => (long)Items.Count,
        "depth" => (long)depth + 1,
        "depth0" => (long)depth,
        "previtem" => Index > 0 ? Items[Index - 1] : new Undefined("there is no previous item"),
        "nextitem" => Index + 1 < Items.Count ? Items[Index + 1] : new Undefined("there is no next item"),
        "cycle" => new Callable("cycle", arguments => arguments.Positional.Count > 0
            ? arguments.Positional[Index % arguments.Positional.Count]
            : throw new TemplateError("no items for cycling given")),
        "changed" => new Callable("changed", Changed),
        _ => new Undefined($"the loop has no attribute '{name}'"),
    };

    private object Changed(Arguments arguments)
    {
        List<object?> now = [.. arguments.Positional];
        bool same = _lastChanged is not null && Python.AreEqual(new Sequence(_lastChanged), new Sequence(now));
        _lastChanged = now;
        return !same;
    }
}
