using System.Globalization;
using System.Numerics;
using System.Text;
using static FineTuneCore.Tokenization.Templates.TemplateTokenKind;

namespace FineTuneCore.Tokenization.Templates;

/// <summary>
/// Cuts a template into tokens with trim_blocks and lstrip_blocks on, as transformers sets them, and one newline at the end dropped.
/// </summary>
internal sealed class TemplateLexer
{
    private static readonly string[] s_operators =
        ["//", "**", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", ".", ":", "|", ",", ";", "(", ")", "[", "]", "{", "}"];

    private readonly string _source;
    private readonly List<TemplateToken> _tokens = [];
    private int _position;
    private int _line = 1;

    private TemplateLexer(string source)
    {
        source = source.Replace("\r\n", "\n").Replace('\r', '\n');
        _source = source.EndsWith('\n') ? source[..^1] : source;
    }

    /// <exception cref="TemplateError">The template is not well formed.</exception>
    public static List<TemplateToken> Tokenize(string source)
    {
        var lexer = new TemplateLexer(source);
        lexer.Run();
        return lexer._tokens;
    }

    private void Run()
    {
        while (_position < _source.Length)
        {
            int open = NextOpening();
            int end = open < 0 ? _source.Length : open;
            string text = _source[_position..end];
            if (open < 0)
            {
                AddText(text);
                Advance(end);
                break;
            }
            char kind = _source[open + 1];
            char sign = open + 2 < _source.Length ? _source[open + 2] : ' ';
            if (sign == '-')
                AddText(text.TrimEnd());
            else if (sign != '+' && kind != '{')
                AddText(StripIndent(text));
            else
                AddText(text);
            Advance(open + (sign is '-' or '+' ? 3 : 2));
            if (kind == '#')
                SkipComment();
            else if (kind == '%' && TryRaw())
                continue;
            else
                Code(kind == '%');
        }
        _tokens.Add(new TemplateToken(End, "", _line));
    }

    private int NextOpening()
    {
        for (int i = _source.IndexOf('{', _position); i >= 0 && i + 1 < _source.Length; i = _source.IndexOf('{', i + 1))
            if (_source[i + 1] is '{' or '%' or '#')
                return i;
        return -1;
    }

    // lstrip_blocks: white space between the line's start and a block belongs to the block.
    private string StripIndent(string text)
    {
        int lineStart = text.LastIndexOf('\n') + 1;
        bool atLineStart = lineStart > 0 || _position == 0 || _source[_position - 1] == '\n';
        return atLineStart && string.IsNullOrWhiteSpace(text[lineStart..]) ? text[..lineStart] : text;
    }

    private void AddText(string text)
    {
        if (text.Length > 0)
            _tokens.Add(new TemplateToken(Text, text, _line));
    }

    private void SkipComment()
    {
        int end = _source.IndexOf("#}", _position, StringComparison.Ordinal);
        if (end < 0)
            throw Error("a comment {# is not closed");
        bool strip = end > _position && _source[end - 1] == '-';
        bool keep = end > _position && _source[end - 1] == '+';
        Advance(end + 2);
        AfterBlock(strip, keep);
    }

    private bool TryRaw()
    {
        int i = SkipSpaces(_position);
        if (!Matches(i, "raw"))
            return false;
        i = SkipSpaces(i + 3);
        bool strip = Matches(i, "-%}");
        if (!strip && !Matches(i, "%}"))
            return false;
        Advance(i + (strip ? 3 : 2));
        if (strip)
            Advance(SkipSpaces(_position));
        for (int open = _source.IndexOf("{%", _position, StringComparison.Ordinal); open >= 0; open = _source.IndexOf("{%", open + 2, StringComparison.Ordinal))
        {
            char sign = open + 2 < _source.Length ? _source[open + 2] : ' ';
            i = SkipSpaces(open + (sign is '-' or '+' ? 3 : 2));
            if (!Matches(i, "endraw"))
                continue;
            i = SkipSpaces(i + 6);
            bool stripAfter = Matches(i, "-%}");
            bool keep = Matches(i, "+%}");
            if (!stripAfter && !keep && !Matches(i, "%}"))
                continue;
            string text = _source[_position..open];
            AddText(sign == '-' ? text.TrimEnd() : sign == '+' ? text : StripIndent(text));
            Advance(i + (stripAfter || keep ? 3 : 2));
            AfterBlock(stripAfter, keep);
            return true;
        }
        throw Error("{% raw %} is not closed by {% endraw %}");
    }

    private void Code(bool block)
    {
        int start = _line;
        _tokens.Add(new TemplateToken(block ? BlockBegin : VariableBegin, "", _line));
        string close = block ? "%}" : "}}";
        var brackets = new Stack<char>();
        while (true)
        {
            Advance(SkipSpaces(_position));
            if (_position >= _source.Length)
                throw new TemplateError($"{(block ? "{%" : "{{")} is not closed by {close}", start);
            bool strip = _source[_position] == '-' && Matches(_position + 1, close);
            bool keep = block && _source[_position] == '+' && Matches(_position + 1, close);
            if (brackets.Count == 0 && (strip || keep || Matches(_position, close)))
            {
                _tokens.Add(new TemplateToken(block ? BlockEnd : VariableEnd, "", _line));
                Advance(_position + (strip || keep ? 3 : 2));
                if (block)
                    AfterBlock(strip, keep);
                else if (strip)
                    Advance(SkipSpaces(_position));
                return;
            }
            Literal(brackets);
        }
    }

    // trim_blocks: the first newline after a block belongs to the block.
    private void AfterBlock(bool strip, bool keep)
    {
        if (strip)
            Advance(SkipSpaces(_position));
        else if (!keep && Matches(_position, "\n"))
            Advance(_position + 1);
    }

    private void Literal(Stack<char> brackets)
    {
        char c = _source[_position];
        if (c is '"' or '\'')
            StringLiteral(c);
        else if (char.IsAsciiDigit(c))
            Number();
        else if (c == '_' || char.IsLetter(c))
            Name();
        else
            Operator(brackets);
    }

    private void Name()
    {
        int end = _position;
        while (end < _source.Length && (_source[end] == '_' || char.IsLetterOrDigit(_source[end])))
            end++;
        _tokens.Add(new TemplateToken(TemplateTokenKind.Name, _source[_position..end], _line));
        Advance(end);
    }

    private void Operator(Stack<char> brackets)
    {
        string op = s_operators.FirstOrDefault(candidate => Matches(_position, candidate)) ?? throw Error($"unexpected character '{_source[_position]}'");
        char c = op[0];
        if (c is '(' or '[' or '{')
            brackets.Push(c == '(' ? ')' : c == '[' ? ']' : '}');
        else if (c is ')' or ']' or '}' && (!brackets.TryPop(out char expected) || expected != c))
            throw Error($"unexpected '{c}'");
        _tokens.Add(new TemplateToken(TemplateTokenKind.Operator, op, _line));
        Advance(_position + op.Length);
    }

    private void Number()
    {
        int end = _position;
        while (end < _source.Length && (char.IsAsciiLetterOrDigit(_source[end]) || _source[end] == '_'
            || _source[end] == '.' && end + 1 < _source.Length && char.IsAsciiDigit(_source[end + 1]) && !_tokens[^1].Is(".")
            || _source[end] is '+' or '-' && _source[end - 1] is 'e' or 'E' && !IsHex(_position)))
            end++;
        string text = _source[_position..end].Replace("_", "");
        object value;
        if (long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long integer))
            value = integer;
        else if (IsHex(_position) && long.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out integer))
            value = integer;
        else if (text.StartsWith("0b", StringComparison.OrdinalIgnoreCase)
            && long.TryParse(text.AsSpan(2), NumberStyles.AllowBinarySpecifier, CultureInfo.InvariantCulture, out integer))
            value = integer;
        else if (text.All(char.IsAsciiDigit))
            value = BigInteger.Parse(text, CultureInfo.InvariantCulture);
        else if (double.TryParse(text, NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture, out double number))
            value = number;
        else
            throw Error($"{text} is not a number");
        _tokens.Add(new TemplateToken(value is double ? Float : Integer, value, _line));
        Advance(end);
    }

    private bool IsHex(int position) => Matches(position, "0x") || Matches(position, "0X");

    private void StringLiteral(char quote)
    {
        int line = _line;
        var text = new StringBuilder();
        int i = _position + 1;
        while (true)
        {
            if (i >= _source.Length)
                throw new TemplateError("a string is not closed", line);
            char c = _source[i++];
            if (c == quote)
                break;
            if (c == '\\' && i < _source.Length)
                i = Escape(i, text);
            else
                text.Append(c);
        }
        _tokens.Add(new TemplateToken(TemplateTokenKind.String, text.ToString(), line));
        Advance(i);
    }

    // Python's escapes; what is none keeps its backslash.
    private int Escape(int i, StringBuilder text)
    {
        char c = _source[i++];
        int digits = c switch { 'x' => 2, 'u' => 4, 'U' => 8, _ => 0 };
        if (digits > 0)
        {
            if (i + digits > _source.Length
                || !int.TryParse(_source.AsSpan(i, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int code) || code > 0x10FFFF)
                throw Error($"\\{c} needs {digits} hexadecimal digits");
            text.Append(code is >= 0xD800 and <= 0xDFFF ? ((char)code).ToString() : char.ConvertFromUtf32(code));
            return i + digits;
        }
        if (c is >= '0' and <= '7')
        {
            int value = c - '0';
            for (int n = 1; n < 3 && i < _source.Length && _source[i] is >= '0' and <= '7'; n++)
                value = value * 8 + _source[i++] - '0';
            text.Append((char)value);
            return i;
        }
        _ = c switch
        {
            '\n' => text,
            'n' => text.Append('\n'),
            't' => text.Append('\t'),
            'r' => text.Append('\r'),
            'a' => text.Append('\a'),
            'b' => text.Append('\b'),
            'f' => text.Append('\f'),
            'v' => text.Append('\v'),
            '\\' or '\'' or '"' => text.Append(c),
            _ => text.Append('\\').Append(c),
        };
        return i;
    }

    private int SkipSpaces(int position)
    {
        while (position < _source.Length && char.IsWhiteSpace(_source[position]))
            position++;
        return position;
    }

    private bool Matches(int position, string text) => string.CompareOrdinal(_source, position, text, 0, text.Length) == 0;

    private void Advance(int position)
    {
        _line += _source.AsSpan(_position, position - _position).Count('\n');
        _position = position;
    }

    private TemplateError Error(string message) => new(message, _line);
}
