using System.Globalization;
using System.Text;

namespace FineTuneCore.Tokenization.Regexes;

/// <summary>
/// Rewrites a regular expression from Oniguruma's Ruby syntax, which tokenizer.json uses, into .NET's: possessive quantifiers become atomic
/// groups, script and long property names become ranges or short names, nested classes and intersections become unions and subtractions.
/// </summary>
internal sealed class OnigurumaTranslator(string pattern)
{
    private const string WordClass = @"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\u24B6-\u24E9\u00B2\u00B3\u00B9\u00BC-\u00BE";
    private int _position;

    /// <exception cref="FormatException">Something in the expression has no translation.</exception>
    public string Translate()
    {
        string result = Alternatives();
        if (_position < pattern.Length)
            throw Unsupported("an unmatched )");
        return result;
    }

    private string Alternatives()
    {
        var result = new StringBuilder();
        while (_position < pattern.Length && pattern[_position] != ')')
        {
            if (pattern[_position] == '|')
            {
                result.Append('|');
                _position++;
                continue;
            }
            result.Append(Quantified(Atom()));
        }
        return result.ToString();
    }

    private string Atom()
    {
        char c = pattern[_position];
        switch (c)
        {
            case '(':
                return Group();
            case '[':
                return Class().ToNet();
            case '\\':
                return EscapeOutsideClass();
            case '*' or '+' or '?':
                throw Unsupported($"a quantifier {c} with nothing before it");
            default:
                if (char.IsSurrogate(c))
                    throw Unsupported("a literal character beyond U+FFFF");
                _position++;
                return c is '#' or ' ' ? "\\" + c : c.ToString();
        }
    }

    private string Group()
    {
        int start = _position++;
        if (_position < pattern.Length && pattern[_position] == '?')
        {
            if (Next("?#"))
                throw Unsupported("a comment group (?#");
            int open = _position;
            while (_position < pattern.Length && pattern[_position] is not (':' or '=' or '!' or '>' or ')'))
                _position++;
            if (_position >= pattern.Length)
                throw Unsupported("an unclosed (");
            _position++;
            string head = pattern[open.._position];
            if (head.Contains('m') && !head.Contains('<'))
                head = head.Replace('m', 's'); // Ruby's m lets . match line ends
            if (head.EndsWith(')'))
                return "(" + head;
            string inner = Alternatives();
            Close();
            return $"({head}{inner})";
        }
        string body = Alternatives();
        Close();
        return $"(?:{body})";

        void Close()
        {
            if (_position >= pattern.Length)
                throw Unsupported($"an unclosed ( at {start}");
            _position++;
        }
    }

    private string Quantified(string atom)
    {
        int count = 0;
        while (_position < pattern.Length)
        {
            string quantifier;
            bool counted = false;
            char c = pattern[_position];
            if (c is '*' or '+' or '?')
            {
                quantifier = c.ToString();
                _position++;
            }
            else if (c == '{' && Counted() is { } text)
            {
                quantifier = text;
                counted = true;
            }
            else
            {
                break;
            }
            if (count++ > 0)
                atom = $"(?:{atom})";
            if (_position < pattern.Length && pattern[_position] == '?')
            {
                _position++;
                atom = $"{atom}{quantifier}?";
            }
            else if (!counted && _position < pattern.Length && pattern[_position] == '+')
            {
                _position++;
                atom = $"(?>{atom}{quantifier})";
            }
            else
            {
                atom += quantifier;
            }
        }
        return atom;
    }

    private string? Counted()
    {
        int end = pattern.IndexOf('}', _position);
        if (end < 0)
            return null;
        string inside = pattern[(_position + 1)..end];
        if (inside.Length == 0 || inside.Any(c => !char.IsAsciiDigit(c) && c != ','))
            return null;
        _position = end + 1;
        return inside.StartsWith(',') ? $"{{0{inside}}}" : $"{{{inside}}}";
    }

    private string EscapeOutsideClass()
    {
        char c = Peek(1);
        switch (c)
        {
            case 'A' or 'z' or 'Z' or 'b' or 'B' or 'G':
                _position += 2;
                return "\\" + c;
            case >= '1' and <= '9' or 'k' or 'g' or 'K' or 'X' or 'R' or 'O' or 'N':
                throw Unsupported($"\\{c}");
            default:
                return ClassItem().ToNet();
        }
    }

    private CharacterSet Class()
    {
        int start = _position++;
        bool negated = Next("^");
        var set = new CharacterSet();
        bool first = true;
        while (true)
        {
            if (_position >= pattern.Length)
                throw Unsupported($"an unclosed [ at {start}");
            if (pattern[_position] == ']' && !first)
            {
                _position++;
                break;
            }
            first = false;
            if (Next("&&"))
            {
                set = set.Intersect(Remainder(start));
                break;
            }
            CharacterSet item = Next("[:") ? PosixClass() : pattern[_position] == '[' ? Class() : ClassItem();
            if (item.Single is { } low && _position + 1 < pattern.Length && pattern[_position] == '-' && pattern[_position + 1] != ']')
            {
                _position++;
                if (pattern[_position] == '[' || ClassItem().Single is not { } high)
                    throw Unsupported("a range that ends in a class");
                item = CharacterSet.Range(low, high);
            }
            set = set.Union(item, Unsupported);
        }
        return negated ? set.Negate() : set;
    }

    // What follows && up to the closing bracket.
    private CharacterSet Remainder(int start)
    {
        var set = new CharacterSet();
        while (true)
        {
            if (_position >= pattern.Length)
                throw Unsupported($"an unclosed [ at {start}");
            if (Next("]"))
                return set;
            if (Next("&&"))
                return set.Intersect(Remainder(start));
            set = set.Union(pattern[_position] == '[' ? Class() : ClassItem(), Unsupported);
        }
    }

    private CharacterSet PosixClass()
    {
        int end = pattern.IndexOf(":]", _position, StringComparison.Ordinal);
        if (end < 0)
            throw Unsupported("an unclosed [:");
        string name = pattern[_position..end];
        _position = end + 2;
        return Property(name.TrimStart('^'), name.StartsWith('^'));
    }

    private CharacterSet ClassItem()
    {
        char c = pattern[_position++];
        if (c != '\\')
            return char.IsSurrogate(c) ? throw Unsupported("a literal character beyond U+FFFF") : CharacterSet.Of(c);
        if (_position >= pattern.Length)
            throw Unsupported("a \\ at the end");
        c = pattern[_position++];
        return c switch
        {
            'p' or 'P' => NamedProperty(c == 'P'),
            's' => CharacterSet.Class(@"\s", @"\S"),
            'S' => CharacterSet.Class(@"\S", @"\s"),
            'd' => CharacterSet.Class(@"\d", @"\D"),
            'D' => CharacterSet.Class(@"\D", @"\d"),
            'w' => CharacterSet.Class(WordClass, null),
            'W' => CharacterSet.Class(WordClass, null).Negate(),
            'h' => CharacterSet.Class("0-9a-fA-F", null),
            'H' => CharacterSet.Class("0-9a-fA-F", null).Negate(),
            'n' => CharacterSet.Of('\n'),
            'r' => CharacterSet.Of('\r'),
            't' => CharacterSet.Of('\t'),
            'v' => CharacterSet.Of('\v'),
            'f' => CharacterSet.Of('\f'),
            'a' => CharacterSet.Of('\a'),
            'e' => CharacterSet.Of('\u001B'),
            '0' => CharacterSet.Of('\0'),
            'u' => CharacterSet.Of(HexDigits(4)),
            'x' => CharacterSet.Of(Next("{") ? BracedHex() : HexDigits(2)),
            _ when char.IsAsciiLetterOrDigit(c) => throw Unsupported($"\\{c}"),
            _ => CharacterSet.Of(c),
        };
    }

    private CharacterSet NamedProperty(bool negated)
    {
        if (_position >= pattern.Length || pattern[_position] != '{')
            throw Unsupported(@"\p without {name}");
        int end = pattern.IndexOf('}', _position);
        if (end < 0)
            throw Unsupported(@"an unclosed \p{");
        string name = pattern[(_position + 1)..end];
        _position = end + 1;
        return Property(name.TrimStart('^'), negated ^ name.StartsWith('^'));
    }

    private CharacterSet Property(string name, bool negated)
    {
        CharacterSet set = UnicodeProperties.Find(name) ?? throw Unsupported($@"the property \p{{{name}}}");
        return negated ? set.Negate() : set;
    }

    private char HexDigits(int count)
    {
        if (_position + count > pattern.Length)
            throw Unsupported("a short hexadecimal escape");
        return ToCharacter(pattern.AsSpan(_position, count), count);
    }

    private char BracedHex()
    {
        int end = pattern.IndexOf('}', _position);
        if (end < 0)
            throw Unsupported(@"an unclosed \x{");
        char c = ToCharacter(pattern.AsSpan(_position, end - _position), end - _position + 1);
        return c;
    }

    private char ToCharacter(ReadOnlySpan<char> digits, int advance)
    {
        if (!int.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value) || value > 0xFFFF)
            throw Unsupported($"the character code {digits} (up to FFFF is supported)");
        _position += advance;
        return (char)value;
    }

    private bool Next(string text)
    {
        if (string.CompareOrdinal(pattern, _position, text, 0, text.Length) != 0)
            return false;
        _position += text.Length;
        return true;
    }

    private char Peek(int ahead) => _position + ahead < pattern.Length ? pattern[_position + ahead] : throw Unsupported("a \\ at the end");

    private FormatException Unsupported(string what) =>
        new($"the regular expression {pattern} uses {what} (near position {_position}), which this engine does not support");
}
