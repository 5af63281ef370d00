namespace FineTuneCore.Tokenization.Templates;

/// <summary>Builds statements from tokens; expressions are in the other half.</summary>
internal sealed partial class TemplateParser
{
    private readonly List<TemplateToken> _tokens;
    private int _position;
    private int _depth;

    private TemplateParser(List<TemplateToken> tokens) => _tokens = tokens;

    private TemplateToken Current => _tokens[_position];

    /// <exception cref="TemplateError">The template is not well formed, or uses a statement that the sandbox refuses.</exception>
    public static IReadOnlyList<Statement> Parse(string source)
    {
        var parser = new TemplateParser(TemplateLexer.Tokenize(source));
        List<Statement> body = parser.Body();
        if (parser.Current.Kind != TemplateTokenKind.End)
            throw parser.Error($"{{% {parser._tokens[parser._position + 1].Value} %}} has nothing to end or continue");
        return body;
    }

    // Statements up to a block that begins with one of the names, or the end.
    private List<Statement> Body(params string[] ends)
    {
        Enter();
        var body = new List<Statement>();
        while (Current.Kind != TemplateTokenKind.End)
        {
            TemplateToken token = Current;
            switch (token.Kind)
            {
                case TemplateTokenKind.Text:
                    body.Add(new TextStatement((string)token.Value, token.Line));
                    _position++;
                    break;
                case TemplateTokenKind.VariableBegin:
                    _position++;
                    body.Add(new PrintStatement(Tuple(), token.Line));
                    Expect(TemplateTokenKind.VariableEnd);
                    break;
                default:
                    string name = _tokens[_position + 1].Kind == TemplateTokenKind.Name ? (string)_tokens[_position + 1].Value : "";
                    if (ends.Contains(name) || ends.Length == 0 && name.StartsWith("end", StringComparison.Ordinal))
                    {
                        _depth--;
                        return body;
                    }
                    _position++;
                    body.Add(Block(token.Line));
                    break;
            }
        }
        _depth--;
        return ends.Length == 0 ? body : throw Error($"the end of the template comes before {{% {ends[^1]} %}}");
    }

    private Statement Block(int line)
    {
        string name = Name();
        switch (name)
        {
            case "if":
                return If(line);
            case "for":
                return For(line);
            case "set":
                return Set(line);
            case "macro":
                MacroDefinition macro = Macro(Name(), "endmacro");
                return new MacroStatement(macro, line);
            case "call":
                return Call(line);
            case "filter":
                Expression filtered = FilterChain(new NameExpression(CaptureStatement.Caught));
                BlockEnd();
                return new CaptureStatement(null, filtered, BodyUntil("endfilter"), line);
            case "with":
                return With(line);
            case "generation":
                BlockEnd();
                return new GenerationStatement(BodyUntil("endgeneration"), line);
            case "break" or "continue":
                BlockEnd();
                return new JumpStatement(name == "break" ? Flow.Break : Flow.Continue, line);
            case "include" or "import" or "from" or "extends" or "block":
                throw new TemplateError($"{{% {name} %}} needs other templates, which a chat template does not have", line);
            default:
                throw new TemplateError($"unknown statement {{% {name} %}}", line);
        }
    }

    private IfStatement If(int line)
    {
        var branches = new List<(Expression, IReadOnlyList<Statement>)>();
        IReadOnlyList<Statement> otherwise = [];
        Expression test = Tuple();
        while (true)
        {
            BlockEnd();
            branches.Add((test, Body("elif", "else", "endif")));
            string next = EndName();
            if (next == "elif")
            {
                test = Tuple();
                continue;
            }
            BlockEnd();
            if (next == "else")
                otherwise = BodyUntil("endif");
            return new IfStatement(branches, otherwise, line);
        }
    }

    private ForStatement For(int line)
    {
        Target target = TargetList();
        ExpectName("in");
        Expression items = Tuple(conditional: false);
        Expression? filter = SkipName("if") ? Expression() : null;
        bool recursive = SkipName("recursive");
        BlockEnd();
        List<Statement> body = Body("else", "endfor");
        bool hasElse = EndName() == "else";
        BlockEnd();
        return new ForStatement(target, items, filter, recursive, body, hasElse ? BodyUntil("endfor") : [], line);
    }

    private Statement Set(int line)
    {
        Target target = TargetList();
        if (Skip("="))
        {
            Expression value = Tuple();
            BlockEnd();
            return new SetStatement(target, value, line);
        }
        Expression filtered = new NameExpression(CaptureStatement.Caught);
        if (Skip("|"))
            filtered = FilterChain(filtered);
        BlockEnd();
        return new CaptureStatement(target, filtered, BodyUntil("endset"), line);
    }

    private MacroDefinition Macro(string name, string end)
    {
        var parameters = new List<(string, Expression?)>();
        if (Skip("("))
        {
            while (!Skip(")"))
            {
                if (parameters.Count > 0)
                    Expect(",");
                string parameter = Name();
                parameters.Add((parameter, Skip("=") ? Expression() : null));
            }
        }
        if (end == "endcall")
            return new MacroDefinition(name, parameters, [], TakesMore: false);
        BlockEnd();
        int start = _position;
        List<Statement> body = BodyUntil(end);
        bool takesMore = _tokens[start.._position].Exists(token => token.IsName("varargs") || token.IsName("kwargs"));
        return new MacroDefinition(name, parameters, body, takesMore);
    }

    private CallStatement Call(int line)
    {
        MacroDefinition caller = Macro("caller", "endcall");
        if (Expression() is not CallExpression call)
            throw Error("{% call %} needs a call of a macro");
        BlockEnd();
        return new CallStatement(call, caller with { Body = BodyUntil("endcall") }, line);
    }

    private WithStatement With(int line)
    {
        var names = new List<(Target, Expression)>();
        while (Current.Kind != TemplateTokenKind.BlockEnd)
        {
            if (names.Count > 0)
                Expect(",");
            Target target = SingleTarget();
            Expect("=");
            names.Add((target, Expression()));
        }
        BlockEnd();
        return new WithStatement(names, BodyUntil("endwith"), line);
    }

    private Target TargetList()
    {
        Target first = SingleTarget();
        if (!Current.Is(","))
            return first;
        var targets = new List<Target> { first };
        while (Skip(","))
            if (Current.Kind == TemplateTokenKind.Name && !Current.IsName("in") || Current.Is("("))
                targets.Add(SingleTarget());
        return new TupleTarget(targets);
    }

    private Target SingleTarget()
    {
        if (Skip("("))
        {
            Target inner = TargetList();
            Expect(")");
            return inner;
        }
        string name = Name();
        if (name is "true" or "false" or "none" or "True" or "False" or "None" or "not" or "and" or "or" or "in" or "is" or "if" or "else")
            throw Error($"cannot assign to {name}");
        return Skip(".") ? new AttributeTarget(name, Name()) : new NameTarget(name);
    }

    private List<Statement> BodyUntil(string end)
    {
        List<Statement> body = Body(end);
        EndName();
        BlockEnd();
        return body;
    }

    // Passes {% and the name after it.
    private string EndName()
    {
        _position++;
        return Name();
    }

    private void BlockEnd() => Expect(TemplateTokenKind.BlockEnd);

    private void Enter()
    {
        if (++_depth > Limits.SourceDepth)
            throw Error($"the template is nested more than {Limits.SourceDepth} deep");
    }

    private string Name() => Current.Kind == TemplateTokenKind.Name
        ? (string)_tokens[_position++].Value
        : throw Error($"expected a name, found {Current}");

    private bool Skip(string op)
    {
        bool found = Current.Is(op);
        _position += found ? 1 : 0;
        return found;
    }

    private bool SkipName(string name)
    {
        bool found = Current.IsName(name);
        _position += found ? 1 : 0;
        return found;
    }

    private void Expect(string op)
    {
        if (!Skip(op))
            throw Error($"expected '{op}', found {Current}");
    }

    private void ExpectName(string name)
    {
        if (!SkipName(name))
            throw Error($"expected {name}, found {Current}");
    }

    private void Expect(TemplateTokenKind kind)
    {
        if (Current.Kind != kind)
            throw Error($"expected {(kind == TemplateTokenKind.BlockEnd ? "%}" : "}}")}, found {Current}");
        _position++;
    }

    private TemplateError Error(string message) => new(message, Current.Line);
}
