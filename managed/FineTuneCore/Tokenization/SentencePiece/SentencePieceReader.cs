using FineTuneCore.Tokenization.Decoders;
using FineTuneCore.Tokenization.Engine;
using FineTuneCore.Tokenization.Loading;
using FineTuneCore.Tokenization.Models;
using FineTuneCore.Tokenization.Normalizers;
using FineTuneCore.Tokenization.PostProcessors;
using FineTuneCore.Tokenization.PreTokenizers;
using FineTuneCore.Tokenization.Regexes;

namespace FineTuneCore.Tokenization.SentencePiece;

/// <summary>Builds the stages of a tokenizer from a SentencePiece model file. Kudo and Richardson 2018, arXiv:1808.06226.</summary>
internal static class SentencePieceReader
{
    private const string Space = "\u2581";

    /// <param name="file">Path of tokenizer.model.</param>
    /// <param name="special">The configuration beside it: declared tokens, add_bos_token (default true), add_eos_token (default false).</param>
    public static TokenizerParts Read(string file, SpecialTokens special)
    {
        SentencePieceFile model;
        try
        {
            model = SentencePieceFile.Parse(File.ReadAllBytes(file));
        }
        catch (Exception e) when (e is FormatException or IOException or UnauthorizedAccessException)
        {
            throw new TokenizationException($"{file}: not a readable SentencePiece model ({e.Message}); fetch the file again", e);
        }
        if (model.TreatWhitespaceAsSuffix)
            throw Unsupported(file, "treat_whitespace_as_suffix");
        ITokenModel tokens = model.ModelType switch
        {
            1 => Unigram(model),
            2 => Bpe(model),
            _ => throw Unsupported(file, $"model type {model.ModelType} (1 unigram and 2 BPE are)"),
        };
        return new TokenizerParts(tokens)
        {
            AddedTokens = AddedTokens(model, special),
            Normalizer = Normalizer(model),
            // A prefix only where the text begins, once the configuration has given up the legacy behaviour.
            PreTokenizer = model.AddDummyPrefix && model.EscapeWhitespaces
                ? new MetaspacePreTokenizer(Space, special.Legacy == false ? PrependScheme.First : PrependScheme.Always, split: false, evenBeforeSign: true)
                : null,
            PostProcessor = Template(model, special),
            Decoder = new SequenceDecoder(
            [
                new ReplaceDecoder(TextPattern.Literal(Space), " "),
                new ByteFallbackDecoder(),
                new FuseDecoder(),
                new StripDecoder(' ', model.AddDummyPrefix ? 1 : 0, 0),
            ]),
        };
    }

    private static SequenceNormalizer Normalizer(SentencePieceFile model)
    {
        var parts = new List<INormalizer>();
        if (model.Charsmap.Length > 0)
            parts.Add(new CharsmapNormalizer(model.Charsmap));
        if (model.RemoveExtraWhitespaces)
        {
            parts.Add(new ReplaceNormalizer(TextPattern.Regex(@"\A +| +\z"), ""));
            parts.Add(new ReplaceNormalizer(TextPattern.Regex("  +"), " "));
        }
        if (model.EscapeWhitespaces)
            parts.Add(new ReplaceNormalizer(TextPattern.Literal(" "), Space));
        return new SequenceNormalizer(parts);
    }

    private static BpeModel Bpe(SentencePieceFile model)
    {
        Dictionary<string, int> vocabulary = Vocabulary(model);
        var usable = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int id = 0; id < model.Pieces.Count; id++)
            if (model.Pieces[id].Type is PieceType.Normal or PieceType.UserDefined)
                usable.TryAdd(model.Pieces[id].Text, id);
        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup = usable.GetAlternateLookup<ReadOnlySpan<char>>();
        var merges = new MergeTable(usable.Count * 2);
        int rank = -1;
        float lastScore = float.NaN;
        // The higher score merges first; equal scores merge from the left, so they share a rank.
        foreach ((string text, int id) in usable.OrderByDescending(piece => model.Pieces[piece.Value].Score))
        {
            if (model.Pieces[id].Score != lastScore)
                rank++;
            lastScore = model.Pieces[id].Score;
            for (int cut = 1; cut < text.Length; cut++)
                if (lookup.TryGetValue(text.AsSpan(0, cut), out int left) && lookup.TryGetValue(text.AsSpan(cut), out int right))
                    merges.Add(left, right, rank, id);
        }
        int unk = model.Pieces.FindIndex(piece => piece.Type == PieceType.Unknown);
        return new BpeModel(vocabulary, merges, new BpeOptions
        {
            UnkId = unk < 0 ? null : unk,
            FuseUnk = true,
            ByteFallback = model.ByteFallback,
        });
    }

    private static UnigramModel Unigram(SentencePieceFile model)
    {
        int unk = model.Pieces.FindIndex(piece => piece.Type == PieceType.Unknown);
        return new UnigramModel(
            [.. model.Pieces.Select(piece => (piece.Text, (double)piece.Score))],
            unk < 0 ? null : unk,
            model.ByteFallback,
            [.. model.Pieces.Select(piece => piece.Type is PieceType.Normal or PieceType.UserDefined)]);
    }

    private static Dictionary<string, int> Vocabulary(SentencePieceFile model)
    {
        var vocabulary = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int id = 0; id < model.Pieces.Count; id++)
            vocabulary.TryAdd(model.Pieces[id].Text, id);
        return vocabulary;
    }

    private static List<AddedToken> AddedTokens(SentencePieceFile model, SpecialTokens special)
    {
        var tokens = new List<AddedToken>();
        for (int id = 0; id < model.Pieces.Count; id++)
        {
            SentencePiece piece = model.Pieces[id];
            if (piece.Type is PieceType.Control or PieceType.Unknown)
                tokens.Add(new AddedToken(piece.Text, id, true, false, false, false, false));
            else if (piece.Type == PieceType.UserDefined)
                // Found in the text as SentencePiece sees it, with its own sign for spaces.
                tokens.Add(new AddedToken(piece.Text, id, false, false, false, false, true));
        }
        tokens.RemoveAll(token => special.Declared.Exists(other => other.Id == token.Id));
        tokens.AddRange(special.Declared);
        return tokens;
    }

    private static TemplatePostProcessor Template(SentencePieceFile model, SpecialTokens special)
    {
        int bos = Find(special["bos_token"] ?? "<s>");
        int eos = Find(special["eos_token"] ?? "</s>");
        return new TemplatePostProcessor(
            (special.AddBos ?? true) && bos >= 0 ? [bos] : [],
            (special.AddEos ?? false) && eos >= 0 ? [eos] : []);

        int Find(string text) => model.Pieces.FindIndex(piece => piece.Text == text);
    }

    private static TokenizationException Unsupported(string file, string what) =>
        new($"{file}: the SentencePiece model uses {what}, which this engine does not support; use a tokenizer.json made from it");
}
