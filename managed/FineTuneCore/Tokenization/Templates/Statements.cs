using System.Text;

namespace FineTuneCore.Tokenization.Templates;

/// <summary>How a statement ended.</summary>
internal enum Flow
{
    Next,
    Break,
    Continue,
}

/// <summary>Something that writes output or changes names.</summary>
internal abstract class Statement(int line)
{
    public int Line { get; } = line;

    public abstract Flow Execute(Frame frame);

    public static Flow Run(IReadOnlyList<Statement> body, Frame frame)
    {
        foreach (Statement statement in body)
        {
            try
            {
                frame.Rendering.Step();
                Flow flow = statement.Execute(frame);
                if (flow != Flow.Next)
                    return flow;
            }
            catch (TemplateError e) when (e.Line == 0)
            {
                throw new TemplateError(e.Message, statement.Line);
            }
        }
        return Flow.Next;
    }
}

internal sealed class TextStatement(string text, int line) : Statement(line)
{
    public override Flow Execute(Frame frame)
    {
        frame.Write(text);
        return Flow.Next;
    }
}

internal sealed class PrintStatement(Expression value, int line) : Statement(line)
{
    public override Flow Execute(Frame frame)
    {
        frame.Write(Python.Text(value.Evaluate(frame)));
        return Flow.Next;
    }
}

internal sealed class IfStatement(
    IReadOnlyList<(Expression Test, IReadOnlyList<Statement> Body)> branches, IReadOnlyList<Statement> otherwise, int line) : Statement(line)
{
    public override Flow Execute(Frame frame)
    {
        foreach ((Expression test, IReadOnlyList<Statement> body) in branches)
            if (Python.IsTrue(test.Evaluate(frame)))
                return Run(body, frame);
        return Run(otherwise, frame);
    }
}

/// <summary>A name, a namespace attribute or a tuple of targets.</summary>
internal abstract class Target
{
    public abstract void Assign(Frame frame, object? value);
}

internal sealed class NameTarget(string name) : Target
{
    public override void Assign(Frame frame, object? value) => frame.Scope[name] = value;
}

internal sealed class AttributeTarget(string name, string attribute) : Target
{
    public override void Assign(Frame frame, object? value)
    {
        if (!frame.Scope.TryGet(name, out object? target) || target is not Namespace ns)
            throw new TemplateError($"cannot assign attribute {attribute} of {name}, which is not a namespace()");
        ns.Attributes[attribute] = value;
    }
}

internal sealed class TupleTarget(IReadOnlyList<Target> targets) : Target
{
    public override void Assign(Frame frame, object? value)
    {
        IReadOnlyList<object?> items = value is Undefined u ? throw u.Error() : Python.Iterate(value);
        if (items.Count != targets.Count)
            throw new TemplateError($"cannot unpack {items.Count} values into {targets.Count} names");
        for (int i = 0; i < targets.Count; i++)
            targets[i].Assign(frame, items[i]);
    }
}

internal sealed class SetStatement(Target target, Expression value, int line) : Statement(line)
{
    public override Flow Execute(Frame frame)
    {
        target.Assign(frame, value.Evaluate(frame));
        return Flow.Next;
    }
}

/// <summary>{% set x %}…{% endset %} and {% filter f %}…{% endfilter %}: the output of the body, through filters.</summary>
internal sealed class CaptureStatement(Target? target, Expression filtered, IReadOnlyList<Statement> body, int line) : Statement(line)
{
    /// <summary>The name under which the filters find the caught output; no template can spell it.</summary>
    public const string Caught = " caught";

    public override Flow Execute(Frame frame)
    {
        Frame inner = frame.Inner();
        inner.Scope[Caught] = Frame.Capture(frame, captured => Run(body, captured.Inner()));
        object? value = filtered.Evaluate(inner);
        if (target is null)
            frame.Write(Python.Text(value));
        else
            target.Assign(frame, value);
        return Flow.Next;
    }
}

internal sealed class WithStatement(IReadOnlyList<(Target Target, Expression Value)> names, IReadOnlyList<Statement> body, int line) : Statement(line)
{
    public override Flow Execute(Frame frame)
    {
        Frame inner = frame.Inner();
        foreach ((Target target, Expression value) in names)
            target.Assign(inner, value.Evaluate(frame));
        return Run(body, inner);
    }
}

internal sealed class GenerationStatement(IReadOnlyList<Statement> body, int line) : Statement(line)
{
    public override Flow Execute(Frame frame)
    {
        StringBuilder output = frame.Output;
        int start = output.Length;
        Flow flow = Run(body, frame.Inner());
        if (ReferenceEquals(output, frame.Rendering.Output))
            frame.Rendering.Generated.Add(new TextRange(start, output.Length));
        return flow;
    }
}

internal sealed class JumpStatement(Flow flow, int line) : Statement(line)
{
    public override Flow Execute(Frame frame) => flow;
}

internal sealed class ForStatement(
    Target target, Expression items, Expression? filter, bool recursive, IReadOnlyList<Statement> body, IReadOnlyList<Statement> otherwise, int line)
    : Statement(line)
{
    public override Flow Execute(Frame frame) => Loop(frame, items.Evaluate(frame), 0);

    private Flow Loop(Frame frame, object? values, int depth)
    {
        IReadOnlyList<object?> list = Filtered(frame, Python.Iterate(values));
        Func<object?, string>? recurse = recursive
            ? inner => Frame.Capture(frame, captured => Loop(captured, inner, depth + 1))
            : null;
        var loop = new LoopState(list, depth, recurse);
        bool completed = false; // Jinja's {% else %} is for loops none of whose rounds came to its end.
        for (int i = 0; i < list.Count; i++)
        {
            frame.Rendering.Step();
            loop.Index = i;
            Frame inner = frame.Inner();
            inner.Scope["loop"] = loop;
            target.Assign(inner, list[i]);
            Flow flow = Run(body, inner);
            completed |= flow == Flow.Next;
            if (flow == Flow.Break)
                break;
        }
        return completed ? Flow.Next : Run(otherwise, frame.Inner());
    }

    private IReadOnlyList<object?> Filtered(Frame frame, IReadOnlyList<object?> list)
    {
        if (filter is null)
            return list;
        return [.. list.Where(item =>
        {
            Frame inner = frame.Inner();
            target.Assign(inner, item);
            return Python.IsTrue(filter.Evaluate(inner));
        })];
    }
}

/// <summary>The parameters and body of a macro or a {% call %} block; one that reads varargs or kwargs takes any arguments.</summary>
internal sealed record MacroDefinition(
    string Name, IReadOnlyList<(string Name, Expression? Default)> Parameters, IReadOnlyList<Statement> Body, bool TakesMore)
{
    public Callable Bind(Frame definition) => new(Name, arguments => Call(definition, arguments));

    private string Call(Frame definition, Arguments arguments)
    {
        Frame frame = definition.Inner();
        foreach ((string name, Expression? fallback) in Parameters)
            frame.Scope[name] = arguments.TryNext(name, out object? value)
                ? value
                : fallback is null ? new Undefined($"parameter '{name}' was not provided") : fallback.Evaluate(frame);
        object? caller = arguments.Named.GetValueOrDefault("caller");
        frame.Scope["caller"] = caller ?? new Undefined("'caller' is undefined");
        Arguments rest = arguments.Remaining(Name);
        if (!TakesMore && (rest.Positional.Count > 0 || rest.Named.Keys.Any(name => name != "caller")))
            throw new TemplateError($"macro {Name} takes {Parameters.Count} arguments, got {rest.Positional.Count + rest.Named.Count} more");
        frame.Scope["varargs"] = new Sequence([.. rest.Positional], isTuple: true);
        var kwargs = new Mapping();
        foreach ((string name, object? value) in rest.Named)
            if (name != "caller")
                kwargs[name] = value;
        frame.Scope["kwargs"] = kwargs;
        return Frame.Capture(frame, captured => Statement.Run(Body, captured));
    }
}

internal sealed class MacroStatement(MacroDefinition macro, int line) : Statement(line)
{
    public override Flow Execute(Frame frame)
    {
        frame.Scope[macro.Name] = macro.Bind(frame);
        return Flow.Next;
    }
}

internal sealed class CallStatement(CallExpression call, MacroDefinition body, int line) : Statement(line)
{
    public override Flow Execute(Frame frame)
    {
        frame.Write(Python.Text(call.Evaluate(frame, body.Bind(frame))));
        return Flow.Next;
    }
}
