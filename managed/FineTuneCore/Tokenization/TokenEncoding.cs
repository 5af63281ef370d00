namespace FineTuneCore.Tokenization;

/// <summary>What <see cref="Tokenizer.Encode"/> yields: one entry per token in three lists of equal length.</summary>
public sealed class TokenEncoding
{
    private readonly Tokenizer _tokenizer;
    private string[]? _tokens;

    internal TokenEncoding(Tokenizer tokenizer, int[] ids, TextRange[] offsets)
    {
        _tokenizer = tokenizer;
        Ids = ids;
        Offsets = offsets;
    }

    /// <summary>Token ids.</summary>
    public IReadOnlyList<int> Ids { get; }

    /// <summary>
    /// The characters each token came from; (0, 0) for tokens that the post-processor added. Tokens that share one character (bytes of an
    /// emoji) all name the whole character.
    /// </summary>
    public IReadOnlyList<TextRange> Offsets { get; }

    /// <summary>The token strings as the vocabulary spells them.</summary>
    public IReadOnlyList<string> Tokens => _tokens ??= Ids.Select(id => _tokenizer.TokenOf(id) ?? "").ToArray();
}
