namespace FineTuneCore.Tokenization.Templates;

/// <summary>What a token of a template is.</summary>
internal enum TemplateTokenKind
{
    Text,
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name,
    String,
    Integer,
    Float,
    Operator,
    End,
}

/// <summary>One token with the line it begins on; <paramref name="Value"/> is the text, name, operator or literal.</summary>
internal readonly record struct TemplateToken(TemplateTokenKind Kind, object Value, int Line)
{
    public bool Is(string op) => Kind == TemplateTokenKind.Operator && (string)Value == op;

    public bool IsName(string name) => Kind == TemplateTokenKind.Name && (string)Value == name;

    public override string ToString() => Kind switch
    {
        TemplateTokenKind.End => "the end of the template",
        TemplateTokenKind.BlockEnd => "%}",
        TemplateTokenKind.VariableEnd => "}}",
        _ => $"'{Value}'",
    };
}
