using FineTuneCore.Tokenization.Decoders;
using FineTuneCore.Tokenization.Models;
using FineTuneCore.Tokenization.Normalizers;
using FineTuneCore.Tokenization.PostProcessors;
using FineTuneCore.Tokenization.PreTokenizers;

namespace FineTuneCore.Tokenization.Engine;

/// <summary>The stages of a tokenizer as its file describes them; null stages do nothing.</summary>
internal sealed record TokenizerParts(ITokenModel Model)
{
    public IReadOnlyList<AddedToken> AddedTokens { get; init; } = [];

    public INormalizer? Normalizer { get; init; }

    public IPreTokenizer? PreTokenizer { get; init; }

    public IPostProcessor? PostProcessor { get; init; }

    public IDecoder? Decoder { get; init; }
}
