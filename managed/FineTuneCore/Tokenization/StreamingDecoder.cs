using System.Runtime.InteropServices;

namespace FineTuneCore.Tokenization;

/// <summary>Decodes token by token; what it yields, joined, is what decoding all tokens at once yields.</summary>
public sealed class StreamingDecoder
{
    private readonly Tokenizer _tokenizer;
    private readonly bool _skipSpecialTokens;
    private readonly List<int> _window = [];
    private int _known;

    internal StreamingDecoder(Tokenizer tokenizer, bool skipSpecialTokens)
    {
        _tokenizer = tokenizer;
        _skipSpecialTokens = skipSpecialTokens;
    }

    /// <summary>Takes one more token and yields the text that has become certain, often one word, sometimes nothing.</summary>
    public string Add(int id)
    {
        _window.Add(id);
        string before = Text(_known);
        string now = Text(_window.Count);
        // An incomplete character decodes to U+FFFD until its last byte is there.
        if (now.Length <= before.Length || now.EndsWith('\uFFFD'))
            return "";
        // The window keeps the tokens of the last piece, since decoders treat the first token of a text in their own way.
        _window.RemoveRange(0, _known);
        _known = _window.Count;
        return now[before.Length..];
    }

    /// <summary>Yields what was held back, incomplete characters as U+FFFD.</summary>
    public string Flush()
    {
        string rest = Text(_window.Count)[Text(_known).Length..];
        _known = _window.Count;
        return rest;
    }

    private string Text(int count) => _tokenizer.Decode(CollectionsMarshal.AsSpan(_window)[..count], _skipSpecialTokens);
}
