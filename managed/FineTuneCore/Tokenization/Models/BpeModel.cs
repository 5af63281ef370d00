using System.Collections.Concurrent;
using System.Text;
using FineTuneCore.Tokenization.Engine;

namespace FineTuneCore.Tokenization.Models;

/// <summary>Byte pair encoding. Sennrich et al. 2016, arXiv:1508.07909; with the byte fallback of SentencePiece.</summary>
internal sealed class BpeModel : ITokenModel
{
    private const int MaxCachedWords = 1 << 16;
    private const int MaxCachedLength = 64;
    private const char Sign = '\u2581';

    private readonly Dictionary<string, int> _vocabulary;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _lookup;
    private readonly MergeTable _merges;
    private readonly BpeOptions _options;
    private readonly int[]? _byteTokens;
    private readonly ConcurrentDictionary<string, Word> _cache = new();
    private readonly ConcurrentDictionary<string, Word>.AlternateLookup<ReadOnlySpan<char>> _cacheLookup;
    private readonly ConcurrentBag<BpeWord> _words = [];
    private readonly bool _signBegins;
    private int _cached;

    private sealed record Word(int[] Ids, int[] Starts, int[] Lengths);

    public BpeModel(Dictionary<string, int> vocabulary, MergeTable merges, BpeOptions options)
    {
        _vocabulary = vocabulary;
        _lookup = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        _cacheLookup = _cache.GetAlternateLookup<ReadOnlySpan<char>>();
        _merges = merges;
        _options = options;
        _signBegins = !options.IgnoreMerges && options.ContinuingSubwordPrefix.Length + options.EndOfWordSuffix.Length == 0
            && vocabulary.ContainsKey(Sign.ToString()) && vocabulary.Keys.All(BeginsWithItsSigns);
        if (options.ByteFallback)
            _byteTokens = Enumerable.Range(0, 256).Select(b => vocabulary.GetValueOrDefault($"<0x{b:X2}>", -1)).ToArray();
    }

    public IReadOnlyDictionary<string, int> Vocabulary => _vocabulary;

    public void Tokenize(in Piece piece, TokenBuffer output)
    {
        // Where no token has the sign for a space inside, none crosses the place before one: words can be looked up one by one.
        int start = 0;
        ReadOnlySpan<char> text = piece.Span;
        for (int i = 1; _signBegins && i < text.Length; i++)
        {
            if (text[i] != Sign || text[i - 1] == Sign)
                continue;
            TokenizeWord(piece.Sub(start, i - start), output);
            start = i;
        }
        TokenizeWord(piece.Sub(start, piece.Length - start), output);
    }

    private static bool BeginsWithItsSigns(string token) => token.AsSpan().TrimStart(Sign).IndexOf(Sign) < 0;

    private void TokenizeWord(in Piece piece, TokenBuffer output)
    {
        ReadOnlySpan<char> text = piece.Span;
        if (text.IsEmpty)
            return;
        if (!_cacheLookup.TryGetValue(text, out Word? word))
        {
            word = Split(text);
            if (text.Length <= MaxCachedLength && _cached < MaxCachedWords && _cache.TryAdd(text.ToString(), word))
                Interlocked.Increment(ref _cached);
        }
        output.Add(word.Ids, word.Starts, word.Lengths, piece);
    }

    private Word Split(ReadOnlySpan<char> text)
    {
        if (_options.IgnoreMerges && _lookup.TryGetValue(text, out int whole))
            return new Word([whole], [0], [text.Length]);
        if (!_words.TryTake(out BpeWord? word))
            word = new BpeWord();
        AddSymbols(text, word);
        word.Merge(_merges);
        (int[] ids, int[] starts, int[] lengths) = word.ToTokens();
        word.Clear();
        _words.Add(word);
        return new Word(ids, starts, lengths);
    }

    private void AddSymbols(ReadOnlySpan<char> text, BpeWord word)
    {
        Span<int> buffer = stackalloc int[4];
        int unknownStart = -1;
        int position = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            int start = position;
            position += rune.Utf16SequenceLength;
            if (TryGetSymbol(text, start, position, out int id))
            {
                FlushUnknown(word, ref unknownStart, start);
                word.Add(id, start, position - start);
            }
            else if (TryGetBytes(rune, buffer, out int count))
            {
                FlushUnknown(word, ref unknownStart, start);
                foreach (int b in buffer[..count])
                    word.Add(b, start, position - start);
            }
            else if (_options.UnkId is not null)
            {
                if (!_options.FuseUnk)
                    FlushUnknown(word, ref unknownStart, start);
                if (unknownStart < 0)
                    unknownStart = start;
            }
        }
        FlushUnknown(word, ref unknownStart, text.Length);
    }

    private bool TryGetSymbol(ReadOnlySpan<char> text, int start, int end, out int id)
    {
        string prefix = start > 0 ? _options.ContinuingSubwordPrefix : "";
        string suffix = end == text.Length ? _options.EndOfWordSuffix : "";
        return prefix.Length + suffix.Length == 0
            ? _lookup.TryGetValue(text[start..end], out id)
            : _vocabulary.TryGetValue(string.Concat(prefix, text[start..end], suffix), out id);
    }

    private bool TryGetBytes(Rune rune, Span<int> buffer, out int count)
    {
        count = 0;
        if (_byteTokens is null)
            return false;
        Span<byte> utf8 = stackalloc byte[4];
        count = rune.EncodeToUtf8(utf8);
        for (int i = 0; i < count; i++)
        {
            buffer[i] = _byteTokens[utf8[i]];
            if (buffer[i] < 0)
                return false;
        }
        return true;
    }

    private void FlushUnknown(BpeWord word, ref int start, int end)
    {
        if (start >= 0)
            word.Add(_options.UnkId!.Value, start, end - start);
        start = -1;
    }
}
