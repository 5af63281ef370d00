using System.Text;
using System.Buffers.Binary;
using FineTuneCore.Tokenization.Engine;

namespace FineTuneCore.Tokenization.Normalizers;

/// <summary>
/// SentencePiece's compiled normalisation rules: a double-array trie over UTF-8 (Aoe 1989, in the units of Darts-clone) that maps the
/// longest prefix to a replacement.
/// </summary>
internal sealed class CharsmapNormalizer : INormalizer
{
    private readonly uint[] _units;
    private readonly byte[] _replacements;

    /// <param name="data">Size of the trie in bytes (little-endian 32 bits), the trie, and the replacements, each ended by NUL.</param>
    /// <exception cref="FormatException">The data is cut short.</exception>
    public CharsmapNormalizer(ReadOnlySpan<byte> data)
    {
        if (data.Length < 4 || BinaryPrimitives.ReadUInt32LittleEndian(data) is var size && (size % 4 != 0 || size > data.Length - 4))
            throw new FormatException("the character map is cut short");
        _units = new uint[size / 4];
        for (int i = 0; i < _units.Length; i++)
            _units[i] = BinaryPrimitives.ReadUInt32LittleEndian(data[(4 + 4 * i)..]);
        _replacements = data[(4 + (int)size)..].ToArray();
    }

    public AlignedText Apply(AlignedText text)
    {
        var result = new AlignedText.Builder(text.Text.Length);
        byte[] utf8 = Encoding.UTF8.GetBytes(text.Text);
        int position = 0; // in UTF-16 units
        for (int at = 0; at < utf8.Length;)
        {
            (int length, string? replacement) = LongestMatch(utf8.AsSpan(at));
            int bytes = length > 0 ? length : Width(utf8[at]);
            int units = Encoding.UTF8.GetCharCount(utf8, at, bytes);
            if (replacement is null)
                result.Append(text, position, units);
            else
                result.Append(replacement, text.StartOf(position), text.EndOf(position + units - 1));
            at += bytes;
            position += units;
        }
        return result.Build();
    }

    private static int Width(byte lead) => lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;

    private (int Length, string? Replacement) LongestMatch(ReadOnlySpan<byte> key)
    {
        (int, string?) best = (0, null);
        if (_units.Length == 0)
            return best;
        uint node = Offset(_units[0]);
        for (int i = 0; i < key.Length; i++)
        {
            node ^= key[i];
            if (node >= _units.Length || (_units[node] & 0x800000FF) != key[i])
                break;
            uint unit = _units[node];
            node ^= Offset(unit);
            if ((unit >> 8 & 1) != 0 && node < _units.Length)
                best = (i + 1, Replacement((int)(_units[node] & 0x7FFFFFFF)));
        }
        return best;
    }

    private static uint Offset(uint unit) => unit >> 10 << (int)((unit & (1u << 9)) >> 6);

    private string Replacement(int start)
    {
        if (start >= _replacements.Length)
            return "";
        ReadOnlySpan<byte> rest = _replacements.AsSpan(start);
        int end = rest.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? rest : rest[..end]);
    }
}
