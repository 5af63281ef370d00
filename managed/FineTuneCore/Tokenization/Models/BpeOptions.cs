namespace FineTuneCore.Tokenization.Models;

/// <summary>The switches of a BPE model, spelled like the keys of tokenizer.json.</summary>
internal sealed record BpeOptions
{
    /// <summary>Id for what the vocabulary lacks; null drops it.</summary>
    public int? UnkId { get; init; }

    /// <summary>Neighbouring unknowns become one token.</summary>
    public bool FuseUnk { get; init; }

    /// <summary>What the vocabulary lacks is spelled as &lt;0xNN&gt; tokens, one a byte, where all of them exist.</summary>
    public bool ByteFallback { get; init; }

    /// <summary>A piece that is a token as a whole is taken as it is, whatever the merges say.</summary>
    public bool IgnoreMerges { get; init; }

    /// <summary>Written before every symbol of a piece but the first, as vocabularies in the style of WordPiece do.</summary>
    public string ContinuingSubwordPrefix { get; init; } = "";

    /// <summary>Written after the last symbol of a piece.</summary>
    public string EndOfWordSuffix { get; init; } = "";
}
