namespace FineTuneCore.Tokenization.Templates;

/// <summary>Functions that every template can call.</summary>
internal static class Globals
{
    public static Callable? Find(string name, Frame frame) => name switch
    {
        "raise_exception" => new Callable(name, a => throw new TemplateError(Python.Text(a.Required("message")))),
        "strftime_now" => new Callable(name, a => PythonTime.Format(frame.Rendering.Now, a.Text("format"))),
        "range" => new Callable(name, Range),
        "dict" => new Callable(name, Dict),
        "namespace" => new Callable(name, NewNamespace),
        "joiner" => new Callable(name, Joiner),
        "cycler" => new Callable(name, Cycler),
        _ => null,
    };

    private static Sequence Range(Arguments arguments)
    {
        List<long> numbers = [.. arguments.Rest().Select(value => Python.TryInteger(value, out long number)
            ? number
            : throw new TemplateError($"'{Python.TypeName(value)}' object cannot be interpreted as an integer"))];
        arguments.Done();
        if (numbers.Count is 0 or > 3)
            throw new TemplateError($"range expected 1 to 3 arguments, got {numbers.Count}");
        (long start, long stop) = numbers.Count == 1 ? (0, numbers[0]) : (numbers[0], numbers[1]);
        long step = numbers.Count == 3 ? numbers[2] : 1;
        if (step == 0)
            throw new TemplateError("range() arg 3 must not be zero");
        var items = new List<object?>();
        for (long i = start; step > 0 ? i < stop : i > stop; i += step)
        {
            if (items.Count == Limits.Range)
                throw new TemplateError($"range() of more than {Limits.Range} items");
            items.Add(i);
        }
        return new Sequence(items);
    }

    private static Mapping Dict(Arguments arguments)
    {
        var result = new Mapping();
        foreach (object? source in arguments.Rest())
            AddTo(result, source);
        foreach ((string key, object? value) in arguments.Named)
            result[key] = value;
        return result;
    }

    private static Namespace NewNamespace(Arguments arguments)
    {
        var result = new Namespace();
        foreach ((object key, object? value) in Dict(arguments).Items)
            result.Attributes[Python.Text(Mapping.Value(key))] = value;
        return result;
    }

    private static void AddTo(Mapping result, object? source)
    {
        if (source is Mapping mapping)
        {
            foreach ((object key, object? value) in mapping.Items)
                result.Items[key] = value;
            return;
        }
        foreach (object? pair in Python.Iterate(source))
        {
            IReadOnlyList<object?> items = Python.Iterate(pair);
            if (items.Count != 2)
                throw new TemplateError($"dict() needs pairs, found {items.Count} items");
            result.Items[Mapping.Key(items[0])] = items[1];
        }
    }

    private static Callable Joiner(Arguments arguments)
    {
        string separator = arguments.Text("sep", ", ");
        bool used = false;
        return new Callable("joiner", _ =>
        {
            string result = used ? separator : "";
            used = true;
            return result;
        });
    }

    private static Namespace Cycler(Arguments arguments)
    {
        List<object?> items = arguments.Rest();
        if (items.Count == 0)
            throw new TemplateError("at least one item has to be provided");
        int position = 0;
        var result = new Namespace();
        result.Attributes["current"] = items[0];
        result.Attributes["next"] = new Callable("next", _ =>
        {
            object? item = items[position];
            position = (position + 1) % items.Count;
            result.Attributes["current"] = items[position];
            return item;
        });
        result.Attributes["reset"] = new Callable("reset", _ =>
        {
            position = 0;
            return result.Attributes["current"] = items[0];
        });
        return result;
    }
}
