using FineTuneCore.Tokenization.Engine;
using FineTuneCore.Tokenization.Loading;
using FineTuneCore.Tokenization.PostProcessors;
using FineTuneCore.Tokenization.SentencePiece;

namespace FineTuneCore.Tokenization;

/// <summary>
/// Text to token ids and back, exactly as a model's own tokenizer.json (or SentencePiece tokenizer.model) says. Safe to use from several
/// threads. Truncation and padding sections of the file are not applied, and decoding never applies clean_up_tokenization_spaces.
/// </summary>
public sealed class Tokenizer
{
    private readonly TokenizerParts _parts;
    private readonly AddedTokenMatcher _rawMatcher;
    private readonly AddedTokenMatcher _normalizedMatcher;
    private readonly Dictionary<string, int> _addedIds = new(StringComparer.Ordinal);
    private readonly string?[] _tokens;
    private readonly HashSet<int> _special = [];

    internal Tokenizer(TokenizerParts parts, SpecialTokens special)
    {
        _parts = WithDeclared(parts, special);
        _tokens = new string?[1 + Math.Max(
            _parts.Model.Vocabulary.Values.DefaultIfEmpty(-1).Max(), _parts.AddedTokens.Select(token => token.Id).DefaultIfEmpty(-1).Max())];
        foreach ((string token, int id) in _parts.Model.Vocabulary)
            _tokens[id] = token;
        foreach (AddedToken token in _parts.AddedTokens)
        {
            _tokens[token.Id] = token.Content;
            _addedIds[token.Content] = token.Id;
            if (token.Special)
                _special.Add(token.Id);
        }
        _rawMatcher = new AddedTokenMatcher(_parts.AddedTokens.Where(token => !token.Normalized).Select(token => (token, token.Content)));
        _normalizedMatcher = new AddedTokenMatcher(
            _parts.AddedTokens.Where(token => token.Normalized).Select(token => (token, Normalize(new AlignedText(token.Content)).Text)));
        (BosToken, BosId) = Named(special["bos_token"]);
        (EosToken, EosId) = Named(special["eos_token"]);
        (PadToken, PadId) = Named(special["pad_token"]);
        (UnkToken, UnkId) = Named(special["unk_token"]);
        (AddsBos, AddsEos) = Ends();
        if ((special.AddBos ?? AddsBos) == AddsBos && (special.AddEos ?? AddsEos) == AddsEos)
            return;
        // add_bos_token and add_eos_token of tokenizer_config.json win over tokenizer.json, as in transformers.
        int[] before = (special.AddBos ?? AddsBos) && BosId is { } bos ? [bos] : [];
        int[] after = (special.AddEos ?? AddsEos) && EosId is { } eos ? [eos] : [];
        _parts = _parts with { PostProcessor = new EndsPostProcessor(_parts.PostProcessor, before, after) };
        (AddsBos, AddsEos) = Ends();
    }

    /// <summary>Highest token id plus one, added tokens included.</summary>
    public int VocabSize => _tokens.Length;

    /// <summary>The token that begins a text, as tokenizer_config.json or special_tokens_map.json names it.</summary>
    public string? BosToken { get; }

    /// <summary>Id of <see cref="BosToken"/>, where the vocabulary has it.</summary>
    public int? BosId { get; }

    /// <summary>The token that ends a text or turn.</summary>
    public string? EosToken { get; }

    /// <summary>Id of <see cref="EosToken"/>, where the vocabulary has it.</summary>
    public int? EosId { get; }

    /// <summary>The token that fills rows up.</summary>
    public string? PadToken { get; }

    /// <summary>Id of <see cref="PadToken"/>, where the vocabulary has it.</summary>
    public int? PadId { get; }

    /// <summary>The token for what the vocabulary lacks.</summary>
    public string? UnkToken { get; }

    /// <summary>Id of <see cref="UnkToken"/>, where the vocabulary has it.</summary>
    public int? UnkId { get; }

    /// <summary>Whether encoding with special tokens puts <see cref="BosToken"/> first.</summary>
    public bool AddsBos { get; }

    /// <summary>Whether encoding with special tokens puts <see cref="EosToken"/> last.</summary>
    public bool AddsEos { get; }

    /// <summary>Loads the tokenizer of a model directory: tokenizer.json if it is there, else tokenizer.model.</summary>
    /// <param name="modelDirectory">A directory as Hugging Face lays models out.</param>
    /// <exception cref="TokenizationException">There is no tokenizer, its file is damaged, or it asks for something unsupported.</exception>
    public static Tokenizer Load(string modelDirectory)
    {
        ArgumentException.ThrowIfNullOrEmpty(modelDirectory);
        if (!Directory.Exists(modelDirectory))
            throw new TokenizationException($"{modelDirectory}: no such directory, expected one with tokenizer.json or tokenizer.model");
        SpecialTokens special = SpecialTokens.Read(modelDirectory);
        string json = Path.Combine(modelDirectory, "tokenizer.json");
        if (File.Exists(json))
            return new Tokenizer(TokenizerJsonReader.Read(json), special);
        string model = Path.Combine(modelDirectory, "tokenizer.model");
        if (File.Exists(model))
            return new Tokenizer(SentencePieceReader.Read(model, special), special);
        throw new TokenizationException(
            $"{modelDirectory}: neither tokenizer.json nor tokenizer.model is there; fetch one of them from where the model came from");
    }

    /// <summary>Cuts a text into tokens.</summary>
    /// <param name="text">Any string; lone surrogates count as U+FFFD.</param>
    /// <param name="addSpecialTokens">Whether the post-processor adds what the model expects around a text, such as the BOS token.</param>
    public TokenEncoding Encode(string text, bool addSpecialTokens)
    {
        ArgumentNullException.ThrowIfNull(text);
        var tokens = new TokenBuffer();
        foreach ((AddedToken? token, int start, int length) in _rawMatcher.Split(text))
        {
            if (token is not null)
                tokens.Add(token.Id, new TextRange(start, start + length));
            else
                EncodePlain(new AlignedText(text.Substring(start, length), start), tokens);
        }
        tokens = Finish(tokens, addSpecialTokens);
        return new TokenEncoding(this, [.. tokens.Ids], [.. tokens.Offsets]);
    }

    /// <summary>Joins tokens into text; ids outside the vocabulary are left out, bytes that are not UTF-8 become U+FFFD.</summary>
    /// <param name="ids">Token ids.</param>
    /// <param name="skipSpecialTokens">Leaves out BOS, EOS and whatever else the file marks as special.</param>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens)
    {
        var tokens = new List<string>(ids.Length);
        foreach (int id in ids)
            if (TokenOf(id) is { } token && !(skipSpecialTokens && _special.Contains(id)))
                tokens.Add(token);
        return _parts.Decoder is null ? string.Join(' ', tokens) : string.Concat(_parts.Decoder.Apply(tokens));
    }

    /// <summary>A decoder for token by token output that holds back incomplete characters.</summary>
    /// <param name="skipSpecialTokens">As for <see cref="Decode"/>.</param>
    public StreamingDecoder CreateStreamingDecoder(bool skipSpecialTokens = true) => new(this, skipSpecialTokens);

    /// <summary>The string of a token, or null where no token has this id.</summary>
    public string? TokenOf(int id) => (uint)id < (uint)_tokens.Length ? _tokens[id] : null;

    /// <summary>The id of a token, or null where the vocabulary has none of this spelling.</summary>
    public int? IdOf(string token) =>
        _addedIds.TryGetValue(token, out int id) || _parts.Model.Vocabulary.TryGetValue(token, out id) ? id : null;

    /// <summary>Whether decoding with skipSpecialTokens leaves this id out.</summary>
    public bool IsSpecial(int id) => _special.Contains(id);

    /// <summary>Texts of the added tokens that are special.</summary>
    internal IReadOnlyCollection<string> SpecialTexts => [.. _special.Select(id => _tokens[id]!)];

    private void EncodePlain(AlignedText original, TokenBuffer tokens)
    {
        AlignedText text = Normalize(original);
        foreach ((AddedToken? token, int start, int length) in _normalizedMatcher.Split(text.Text))
        {
            if (token is not null)
            {
                tokens.Add(token.Id, new TextRange(text.StartOf(start), text.EndOf(start + length - 1)));
                continue;
            }
            AlignedText part = text.Slice(start, length);
            List<Piece> pieces = [new Piece(part, 0, length)];
            foreach (Piece piece in _parts.PreTokenizer?.Apply(pieces) ?? pieces)
                _parts.Model.Tokenize(piece, tokens);
        }
    }

    private AlignedText Normalize(AlignedText text) => _parts.Normalizer?.Apply(text) ?? text;

    private TokenBuffer Finish(TokenBuffer tokens, bool addSpecialTokens) => _parts.PostProcessor?.Apply(tokens, addSpecialTokens) ?? tokens;

    // Whether an encoding with special tokens begins with BOS and ends with EOS.
    private (bool Bos, bool Eos) Ends()
    {
        List<int> ids = Finish(new TokenBuffer(), true).Ids;
        return (BosId is { } bos && ids is [var first, ..] && first == bos, EosId is { } eos && ids is [.., var last] && last == eos);
    }

    private (string? Token, int? Id) Named(string? token) => (token, token is null ? null : IdOf(token));

    // transformers adds what tokenizer_config.json declares and names, so its flags win over those of tokenizer.json.
    private static TokenizerParts WithDeclared(TokenizerParts parts, SpecialTokens special)
    {
        var tokens = new OrderedDictionary<string, AddedToken>(StringComparer.Ordinal);
        foreach (AddedToken token in parts.AddedTokens)
            tokens[token.Content] = token;
        foreach (AddedToken token in special.Declared)
            tokens[token.Content] = tokens.TryGetValue(token.Content, out AddedToken? known) ? token with { Id = known.Id } : token;
        foreach (string content in special.Texts)
            if (!tokens.ContainsKey(content) && parts.Model.Vocabulary.TryGetValue(content, out int id))
                tokens[content] = new AddedToken(content, id, Special: true, LeftStrip: false, RightStrip: false, SingleWord: false, Normalized: false);
        return parts with { AddedTokens = [.. tokens.Values] };
    }
}
