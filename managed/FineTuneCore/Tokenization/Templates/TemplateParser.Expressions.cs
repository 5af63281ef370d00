namespace FineTuneCore.Tokenization.Templates;

/// <summary>Expressions by precedence, loosest first, as Jinja orders them.</summary>
internal sealed partial class TemplateParser
{
    private Expression Expression()
    {
        Enter();
        Expression result = Or();
        while (SkipName("if"))
        {
            Expression test = Or();
            result = new ConditionalExpression(test, result, SkipName("else") ? Expression() : null);
        }
        _depth--;
        return result;
    }

    // An expression, or several with commas between them as a tuple.
    private Expression Tuple(bool conditional = true)
    {
        Expression first = conditional ? Expression() : Or();
        if (!Current.Is(","))
            return first;
        var items = new List<Expression> { first };
        while (Skip(","))
        {
            if (Current.Kind is TemplateTokenKind.BlockEnd or TemplateTokenKind.VariableEnd || Current.Is(")"))
                break;
            items.Add(conditional ? Expression() : Or());
        }
        return new ListExpression(items, isTuple: true);
    }

    private Expression Or()
    {
        Expression left = And();
        while (SkipName("or"))
            left = new BinaryExpression("or", left, And());
        return left;
    }

    private Expression And()
    {
        Expression left = Not();
        while (SkipName("and"))
            left = new BinaryExpression("and", left, Not());
        return left;
    }

    private Expression Not()
    {
        if (!SkipName("not"))
            return Comparison();
        Enter();
        Expression operand = Not();
        _depth--;
        return new UnaryExpression("not", operand);
    }

    private Expression Comparison()
    {
        Expression first = Sum();
        var rest = new List<(string, Expression)>();
        while (true)
        {
            if (Current.Kind == TemplateTokenKind.Operator && (string)Current.Value is "==" or "!=" or "<" or "<=" or ">" or ">=")
            {
                string op = (string)_tokens[_position++].Value;
                rest.Add((op, Sum()));
            }
            else if (SkipName("in"))
            {
                rest.Add(("in", Sum()));
            }
            else if (Current.IsName("not") && _tokens[_position + 1].IsName("in"))
            {
                _position += 2;
                rest.Add(("not in", Sum()));
            }
            else
            {
                return rest.Count == 0 ? first : new CompareExpression(first, rest);
            }
        }
    }

    private Expression Sum() => LeftToRight(Concat, "+", "-");

    private Expression Concat()
    {
        var parts = new List<Expression> { Product() };
        while (Skip("~"))
            parts.Add(Product());
        return parts.Count == 1 ? parts[0] : new ConcatExpression(parts);
    }

    private Expression Product() => LeftToRight(() => LeftToRight(() => Unary(), "**"), "*", "/", "//", "%");

    private Expression LeftToRight(Func<Expression> operand, params string[] operators)
    {
        Expression left = operand();
        while (Current.Kind == TemplateTokenKind.Operator && operators.Contains((string)Current.Value))
        {
            string op = (string)_tokens[_position++].Value;
            left = new BinaryExpression(op, left, operand());
        }
        return left;
    }

    private Expression Unary(bool withFilter = true)
    {
        Enter();
        Expression result;
        if (Skip("-"))
            result = new UnaryExpression("-", Unary(false));
        else if (Skip("+"))
            result = new UnaryExpression("+", Unary(false));
        else
            result = Primary();
        result = Postfix(result);
        if (withFilter)
            result = FiltersAndTests(result);
        _depth--;
        return result;
    }

    private Expression Primary()
    {
        TemplateToken token = Current;
        switch (token.Kind)
        {
            case TemplateTokenKind.Name:
                _position++;
                return (string)token.Value switch
                {
                    "true" or "True" => new Literal(true),
                    "false" or "False" => new Literal(false),
                    "none" or "None" => new Literal(null),
                    var name => new NameExpression(name),
                };
            case TemplateTokenKind.String:
                string text = "";
                while (Current.Kind == TemplateTokenKind.String)
                    text += (string)_tokens[_position++].Value;
                return new Literal(text);
            case TemplateTokenKind.Integer or TemplateTokenKind.Float:
                _position++;
                return new Literal(token.Value);
        }
        if (Skip("("))
        {
            Expression inner = Current.Is(")") ? new ListExpression([], isTuple: true) : Tuple();
            Expect(")");
            return inner;
        }
        if (Skip("["))
            return new ListExpression(Items("]", Expression), isTuple: false);
        if (Skip("{"))
            return new DictExpression(Items("}", () =>
            {
                Expression key = Expression();
                Expect(":");
                return (key, Expression());
            }));
        throw Error($"expected an expression, found {token}");
    }

    private List<T> Items<T>(string close, Func<T> item)
    {
        var items = new List<T>();
        while (!Skip(close))
        {
            if (items.Count > 0)
            {
                Expect(",");
                if (Skip(close))
                    break;
            }
            items.Add(item());
        }
        return items;
    }

    private Expression Postfix(Expression value)
    {
        while (true)
        {
            if (Skip("."))
                value = Current.Kind == TemplateTokenKind.Integer
                    ? new ItemExpression(value, new Literal(_tokens[_position++].Value))
                    : new AttributeExpression(value, Name());
            else if (Skip("["))
                value = Subscript(value);
            else if (Skip("("))
                value = new CallExpression(value, CallArguments());
            else
                return value;
        }
    }

    private Expression Subscript(Expression value)
    {
        Expression? start = Current.Is(":") ? null : Tuple();
        if (start is not null && Skip("]"))
            return new ItemExpression(value, start);
        Expect(":");
        Expression? stop = Current.Is(":") || Current.Is("]") ? null : Expression();
        Expression? step = Skip(":") && !Current.Is("]") ? Expression() : null;
        Expect("]");
        return new SliceExpression(value, start, stop, step);
    }

    private Expression FiltersAndTests(Expression value)
    {
        while (true)
        {
            if (Skip("|"))
                value = FilterChain(value);
            else if (SkipName("is"))
                value = Test(value);
            else if (Skip("("))
                value = new CallExpression(value, CallArguments());
            else
                return value;
        }
    }

    // The first filter's name is next; further ones follow a |.
    private Expression FilterChain(Expression value)
    {
        do
        {
            string name = Name();
            value = new FilterExpression(value, name, Skip("(") ? CallArguments() : Templates.CallArguments.Empty);
        }
        while (Skip("|"));
        return value;
    }

    private Expression Test(Expression value)
    {
        bool negated = SkipName("not");
        string name = Name();
        CallArguments arguments = Templates.CallArguments.Empty;
        if (Skip("("))
            arguments = CallArguments();
        else if (Current.Kind is TemplateTokenKind.String or TemplateTokenKind.Integer or TemplateTokenKind.Float || Current.Is("[") || Current.Is("{")
            || Current.Kind == TemplateTokenKind.Name && (string)Current.Value is not ("else" or "or" or "and" or "is" or "if" or "in" or "not" or "recursive"))
            arguments = arguments with { Positional = [Postfix(Primary())] };
        Expression test = new TestExpression(value, name, arguments);
        return negated ? new UnaryExpression("not", test) : test;
    }

    private CallArguments CallArguments()
    {
        var positional = new List<Expression>();
        var named = new List<(string, Expression)>();
        Expression? list = null;
        Expression? dict = null;
        bool first = true;
        while (!Skip(")"))
        {
            if (!first)
            {
                Expect(",");
                if (Skip(")"))
                    break;
            }
            first = false;
            if (Skip("*"))
            {
                list = Expression();
            }
            else if (Skip("**"))
            {
                dict = Expression();
            }
            else if (Current.Kind == TemplateTokenKind.Name && _tokens[_position + 1].Is("="))
            {
                string name = Name();
                _position++;
                named.Add((name, Expression()));
            }
            else if (named.Count > 0)
            {
                throw Error("an argument without name follows one with a name");
            }
            else
            {
                positional.Add(Expression());
            }
        }
        return new CallArguments(positional, named, list, dict);
    }
}
