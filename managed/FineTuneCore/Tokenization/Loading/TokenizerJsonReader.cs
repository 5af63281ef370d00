using System.Text.Json;
using FineTuneCore.Tokenization.Engine;
using FineTuneCore.Tokenization.Models;
using FineTuneCore.Tokenization.PostProcessors;

namespace FineTuneCore.Tokenization.Loading;

/// <summary>
/// Reads tokenizer.json. Its truncation and padding sections concern batches and are not applied: an encoding is always that of the whole
/// text.
/// </summary>
internal static class TokenizerJsonReader
{
    public static TokenizerParts Read(string file)
    {
        using JsonDocument document = JsonFiles.Open(file);
        return Read(new JsonPlace(document.RootElement, file, "$"));
    }

    public static TokenizerParts Read(JsonPlace root)
    {
        ITokenModel model = ModelReader.Read(root["model"]);
        List<AddedToken> added = AddedTokens(root["added_tokens"]);
        var byId = new Dictionary<int, string>();
        foreach (AddedToken token in added)
            byId[token.Id] = token.Content;
        Dictionary<int, string>? vocabulary = null;
        return new TokenizerParts(model)
        {
            AddedTokens = added,
            Normalizer = NormalizerReader.Read(root["normalizer"]),
            PreTokenizer = PreTokenizerReader.Read(root["pre_tokenizer"]),
            PostProcessor = PostProcessor(root["post_processor"], TokenOf),
            Decoder = DecoderReader.Read(root["decoder"]),
        };

        string? TokenOf(int id)
        {
            if (byId.TryGetValue(id, out string? token))
                return token;
            vocabulary ??= model.Vocabulary.ToDictionary(entry => entry.Value, entry => entry.Key);
            return vocabulary.GetValueOrDefault(id);
        }
    }

    private static List<AddedToken> AddedTokens(JsonPlace tokens)
    {
        var result = new List<AddedToken>();
        if (tokens.IsNull)
            return result;
        foreach (JsonPlace token in tokens.Items())
            result.Add(AddedToken(token, token.Int("id")));
        return result;
    }

    /// <summary>One entry of added_tokens or added_tokens_decoder.</summary>
    public static AddedToken AddedToken(JsonPlace token, int id) => new(
        token.String("content"), id, token.Bool("special", false), token.Bool("lstrip", false), token.Bool("rstrip", false),
        token.Bool("single_word", false), token.Bool("normalized", !token.Bool("special", false)));

    private static IPostProcessor? PostProcessor(JsonPlace place, Func<int, string?> tokenOf)
    {
        if (place.IsNull)
            return null;
        switch (place.Type)
        {
            case "Sequence":
                return new SequencePostProcessor([.. place["processors"].Items().Select(p => PostProcessor(p, tokenOf)!)]);
            case "TemplateProcessing":
                return Template(place);
            case "ByteLevel":
                return place.Bool("trim_offsets", true)
                    ? new TrimOffsetsPostProcessor(tokenOf, place.Bool("add_prefix_space", true))
                    : new SequencePostProcessor([]);
            case "RobertaProcessing":
                IPostProcessor around = Around(place);
                return place.Bool("trim_offsets", true)
                    ? new SequencePostProcessor([new TrimOffsetsPostProcessor(tokenOf, place.Bool("add_prefix_space", true)), around])
                    : around;
            case "BertProcessing":
                return Around(place);
            default:
                throw place.Unsupported($"the post-processor {place.Type}");
        }
    }

    private static TemplatePostProcessor Around(JsonPlace place) =>
        new([place["cls"].Items().ElementAt(1).AsInt()], [place["sep"].Items().ElementAt(1).AsInt()]);

    private static TemplatePostProcessor Template(JsonPlace place)
    {
        var before = new List<int>();
        var after = new List<int>();
        bool seenText = false;
        foreach (JsonPlace item in place["single"].Items())
        {
            if (!item["Sequence"].IsNull)
            {
                if (seenText || item["Sequence"].String("id") != "A")
                    throw item.Unsupported("a second sequence in the single template");
                seenText = true;
                continue;
            }
            string id = item["SpecialToken"].String("id");
            JsonPlace ids = place["special_tokens"][id]["ids"];
            (seenText ? after : before).AddRange(ids.Items().Select(value => value.AsInt()));
        }
        return new TemplatePostProcessor(before, after);
    }
}
