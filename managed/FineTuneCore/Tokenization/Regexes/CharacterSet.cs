using System.Globalization;

namespace FineTuneCore.Tokenization.Regexes;

/// <summary>
/// A set of characters as .NET can spell it: the union of class items, perhaps negated, perhaps without another set.
/// </summary>
internal sealed class CharacterSet
{
    private readonly string _items;
    private readonly bool _negated;
    private readonly CharacterSet? _without;
    private readonly string? _complement;

    public CharacterSet()
        : this("", false, null, null, null)
    {
    }

    private CharacterSet(string items, bool negated, CharacterSet? without, char? single, string? complement)
    {
        _items = items;
        _negated = negated;
        _without = without;
        Single = single;
        _complement = complement;
    }

    /// <summary>The character, where the set is written as just one.</summary>
    public char? Single { get; }

    public static CharacterSet Of(char c) => new(Escape(c), false, null, c, null);

    public static CharacterSet Range(char low, char high) => new($"{Escape(low)}-{Escape(high)}", false, null, null, null);

    /// <summary>Class items, with the items of the complement where those have a spelling.</summary>
    public static CharacterSet Class(string items, string? complement) => new(items, false, null, null, complement);

    public CharacterSet Negate() => _without is null && _complement is not null
        ? new CharacterSet(_complement, false, null, null, _items)
        : _without is null
            ? new CharacterSet(_items, !_negated, null, null, null)
            : new CharacterSet("", true, null, null, null).Without(this);

    public CharacterSet Union(CharacterSet other, Func<string, FormatException> unsupported)
    {
        if (_items.Length == 0 && !_negated && _without is null)
            return new CharacterSet(other._items, other._negated, other._without, null, null);
        if (_negated || _without is not null || other._negated || other._without is not null)
            throw unsupported("a union with a negated class");
        return new CharacterSet(_items + other._items, false, null, null, null);
    }

    public CharacterSet Intersect(CharacterSet other) => Without(other.Negate());

    public string ToNet() => Single is { } c ? Escape(c) : Bracketed();

    private CharacterSet Without(CharacterSet other) => _without is null
        ? new CharacterSet(_items, _negated, other, null, null)
        : new CharacterSet(_items, _negated, new CharacterSet(_without._items + other._items, false, null, null, null), null, null);

    private string Bracketed()
    {
        string subtraction = _without is null ? "" : "-" + _without.Bracketed();
        string items = _items.Length > 0 ? _items : @"\s\S";
        bool negated = _items.Length > 0 && _negated;
        return $"[{(negated ? "^" : "")}{items}{subtraction}]";
    }

    private static string Escape(char c) =>
        char.IsAsciiLetterOrDigit(c) ? c.ToString() : "\\u" + ((int)c).ToString("X4", CultureInfo.InvariantCulture);
}
