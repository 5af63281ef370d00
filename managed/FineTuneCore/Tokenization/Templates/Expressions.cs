namespace FineTuneCore.Tokenization.Templates;

/// <summary>Something that has a value.</summary>
internal abstract class Expression
{
    public abstract object? Evaluate(Frame frame);
}

internal sealed class Literal(object? value) : Expression
{
    public override object? Evaluate(Frame frame) => value;
}

internal sealed class NameExpression(string name) : Expression
{
    public override object? Evaluate(Frame frame) =>
        frame.Scope.TryGet(name, out object? value) ? value : (object?)Globals.Find(name, frame) ?? new Undefined($"'{name}' is undefined");
}

internal sealed class ListExpression(IReadOnlyList<Expression> items, bool isTuple) : Expression
{
    public IReadOnlyList<Expression> Items { get; } = items;

    public bool IsTuple { get; } = isTuple;

    public override object? Evaluate(Frame frame) => new Sequence(Items.Select(item => item.Evaluate(frame)).ToArray(), IsTuple);
}

internal sealed class DictExpression(IReadOnlyList<(Expression Key, Expression Value)> items) : Expression
{
    public override object? Evaluate(Frame frame)
    {
        var result = new Mapping();
        foreach ((Expression key, Expression value) in items)
            result.Items[Mapping.Key(key.Evaluate(frame))] = value.Evaluate(frame);
        return result;
    }
}

internal sealed class AttributeExpression(Expression target, string name) : Expression
{
    public override object? Evaluate(Frame frame) => Members.Attribute(target.Evaluate(frame), name);
}

internal sealed class ItemExpression(Expression target, Expression key) : Expression
{
    public override object? Evaluate(Frame frame) => Members.Item(target.Evaluate(frame), key.Evaluate(frame));
}

internal sealed class SliceExpression(Expression target, Expression? start, Expression? stop, Expression? step) : Expression
{
    public override object? Evaluate(Frame frame) =>
        Members.Slice(target.Evaluate(frame), start?.Evaluate(frame), stop?.Evaluate(frame), step?.Evaluate(frame));
}

/// <summary>The arguments of a call as they are written.</summary>
internal sealed record CallArguments(
    IReadOnlyList<Expression> Positional, IReadOnlyList<(string Name, Expression Value)> Named, Expression? List, Expression? Dict)
{
    public static CallArguments Empty { get; } = new([], [], null, null);

    public Arguments Evaluate(Frame frame, string function)
    {
        List<object?> positional = [.. Positional.Select(argument => argument.Evaluate(frame))];
        if (List is not null)
            positional.AddRange(Python.Iterate(List.Evaluate(frame)));
        var named = new Dictionary<string, object?>();
        foreach ((string name, Expression value) in Named)
            named[name] = value.Evaluate(frame);
        if (Dict is not null)
        {
            if (Dict.Evaluate(frame) is not Mapping mapping)
                throw new TemplateError("argument after ** must be a mapping");
            foreach ((object key, object? value) in mapping.Items)
                named[Python.Text(Mapping.Value(key))] = value;
        }
        return new Arguments(function, positional, named);
    }
}

internal sealed class CallExpression(Expression target, CallArguments arguments) : Expression
{
    public override object? Evaluate(Frame frame) => Evaluate(frame, null);

    /// <summary>Calls with the body of a {% call %} block as caller.</summary>
    public object? Evaluate(Frame frame, Callable? caller)
    {
        frame.Rendering.Step();
        object? function = target.Evaluate(frame);
        switch (function)
        {
            case Undefined undefined:
                throw undefined.Error();
            case LoopState loop:
                return loop.Recurse(arguments.Evaluate(frame, "loop").Required("iterable"));
            case Callable callable:
                Arguments values = arguments.Evaluate(frame, callable.Name);
                if (caller is not null)
                    values = new Arguments(callable.Name, [.. values.Positional], new(values.Named) { ["caller"] = caller });
                return callable.Invoke(values);
            default:
                throw new TemplateError($"'{Python.TypeName(function)}' object is not callable");
        }
    }
}

internal sealed class FilterExpression(Expression target, string name, CallArguments arguments) : Expression
{
    public override object? Evaluate(Frame frame) => Filters.Apply(name, target.Evaluate(frame), arguments.Evaluate(frame, name));
}

internal sealed class TestExpression(Expression target, string name, CallArguments arguments) : Expression
{
    public override object? Evaluate(Frame frame) => Tests.Apply(name, target.Evaluate(frame), arguments.Evaluate(frame, name));
}

internal sealed class UnaryExpression(string op, Expression operand) : Expression
{
    public override object? Evaluate(Frame frame)
    {
        object? value = operand.Evaluate(frame);
        return op switch
        {
            "not" => !Python.IsTrue(value),
            "-" => Operators.Negate(value),
            _ => Operators.Plus(value),
        };
    }
}

internal sealed class BinaryExpression(string op, Expression left, Expression right) : Expression
{
    public override object? Evaluate(Frame frame)
    {
        object? value = left.Evaluate(frame);
        return op switch
        {
            "and" => Python.IsTrue(value) ? right.Evaluate(frame) : value,
            "or" => Python.IsTrue(value) ? value : right.Evaluate(frame),
            _ => Operators.Apply(op, value, right.Evaluate(frame)),
        };
    }
}

internal sealed class ConcatExpression(IReadOnlyList<Expression> parts) : Expression
{
    public override object? Evaluate(Frame frame)
    {
        string[] texts = [.. parts.Select(part => Python.Text(part.Evaluate(frame)))];
        return Limits.Checked(texts.Sum(text => (long)text.Length), () => string.Concat(texts));
    }
}

internal sealed class CompareExpression(Expression first, IReadOnlyList<(string Op, Expression Operand)> rest) : Expression
{
    public override object? Evaluate(Frame frame)
    {
        object? left = first.Evaluate(frame);
        foreach ((string op, Expression operand) in rest)
        {
            object? right = operand.Evaluate(frame);
            if (!Holds(op, left, right))
                return false;
            left = right;
        }
        return true;
    }

    private static bool Holds(string op, object? left, object? right) => op switch
    {
        "==" => Python.AreEqual(left, right),
        "!=" => !Python.AreEqual(left, right),
        "in" => Python.Contains(right, left),
        "not in" => !Python.Contains(right, left),
        "<" => Python.Compare(left, right, op) < 0,
        "<=" => Python.Compare(left, right, op) <= 0,
        ">" => Python.Compare(left, right, op) > 0,
        _ => Python.Compare(left, right, op) >= 0,
    };
}

internal sealed class ConditionalExpression(Expression test, Expression then, Expression? otherwise) : Expression
{
    public override object? Evaluate(Frame frame) => Python.IsTrue(test.Evaluate(frame))
        ? then.Evaluate(frame)
        : otherwise is not null ? otherwise.Evaluate(frame) : new Undefined("the inline if has no else and its condition is false");
}
