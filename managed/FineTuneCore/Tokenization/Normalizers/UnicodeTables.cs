using System.Globalization;

namespace FineTuneCore.Tokenization.Normalizers;

/// <summary>
/// Combining classes and decompositions. Our own, because .NET leaves normalisation to ICU, which differs between machines and is absent
/// where globalisation is invariant.
/// </summary>
internal sealed class UnicodeTables
{
    private static readonly Lazy<UnicodeTables> s_instance = new(() => new UnicodeTables());
    private readonly Dictionary<int, byte> _combiningClass = [];
    private readonly Dictionary<int, int[]> _canonical = [];
    private readonly Dictionary<int, int[]> _compatibility = [];
    private readonly Dictionary<(int, int), int> _composition = [];

    private UnicodeTables()
    {
        using Stream stream = typeof(UnicodeTables).Assembly.GetManifestResourceStream("UnicodeDecompositions.txt")!;
        using var reader = new StreamReader(stream);
        var excluded = new HashSet<int>();
        while (reader.ReadLine() is { } line)
        {
            string[] fields = line.Split(' ');
            switch (fields[0])
            {
                case "c":
                    foreach (int c in fields.Skip(2).SelectMany(Range))
                        _combiningClass[c] = byte.Parse(fields[1], CultureInfo.InvariantCulture);
                    break;
                case "d":
                    _canonical[Hex(fields[1])] = [.. fields.Skip(2).Select(Hex)];
                    break;
                case "k":
                    _compatibility[Hex(fields[1])] = [.. fields.Skip(2).Select(Hex)];
                    break;
                case "x":
                    excluded.UnionWith(fields.Skip(2).SelectMany(Range));
                    break;
            }
        }
        foreach ((int c, int[] parts) in _canonical)
            if (parts.Length == 2 && !excluded.Contains(c))
                _composition[(parts[0], parts[1])] = c;
    }

    public static UnicodeTables Instance => s_instance.Value;

    public int CombiningClass(int c) => c < 0x300 ? 0 : _combiningClass.GetValueOrDefault(c);

    public int[]? Decomposition(int c, bool compatibility) =>
        _canonical.TryGetValue(c, out int[]? parts) || compatibility && _compatibility.TryGetValue(c, out parts) ? parts : null;

    public int? Composition(int first, int second) => _composition.TryGetValue((first, second), out int c) ? c : null;

    private static int Hex(string text) => int.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    private static IEnumerable<int> Range(string text)
    {
        string[] ends = text.Split('-');
        int first = Hex(ends[0]);
        return Enumerable.Range(first, Hex(ends[^1]) - first + 1);
    }
}
