using System.Text;

namespace FineTuneCore.Tokenization.Templates;

/// <summary>Names of one block, and of those around it.</summary>
internal sealed class Scope(Scope? parent)
{
    private readonly Dictionary<string, object?> _names = [];

    public object? this[string name]
    {
        set => _names[name] = value;
    }

    public bool TryGet(string name, out object? value)
    {
        for (Scope? scope = this; scope is not null; scope = scope.Parent)
            if (scope._names.TryGetValue(name, out value))
                return true;
        value = null;
        return false;
    }

    private Scope? Parent { get; } = parent;
}

/// <summary>The state of one rendering that all its frames share.</summary>
internal sealed class Rendering
{
    private int _steps;

    public required DateTimeOffset Now { get; init; }

    public int Depth { get; set; }

    /// <summary>Character ranges of the output inside {% generation %}.</summary>
    public List<TextRange> Generated { get; } = [];

    /// <summary>The output of the template itself, as opposed to what macros and block assignments catch.</summary>
    public StringBuilder Output { get; } = new();

    public void Step()
    {
        if (++_steps > Limits.Steps)
            throw new TemplateError($"more than {Limits.Steps} steps; the template does not seem to end");
    }
}

/// <summary>Where a statement runs: its names and where its output goes.</summary>
internal sealed record Frame(Rendering Rendering, Scope Scope, StringBuilder Output)
{
    public Frame Inner() => this with { Scope = new Scope(Scope) };

    public void Write(string text)
    {
        if (Output.Length + (long)text.Length > Limits.Size)
            throw new TemplateError($"the output is over the limit of {Limits.Size} characters");
        Output.Append(text);
    }

    /// <summary>Runs something with its output caught.</summary>
    public static string Capture(Frame frame, Action<Frame> body)
    {
        Frame inner = frame with { Output = new StringBuilder() };
        if (++frame.Rendering.Depth > Limits.Depth)
            throw new TemplateError($"macros or loops are nested more than {Limits.Depth} deep");
        body(inner);
        frame.Rendering.Depth--;
        return inner.Output.ToString();
    }
}
