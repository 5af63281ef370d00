using System.Text.Json;
using FineTuneCore.Tokenization.Models;

namespace FineTuneCore.Tokenization.Loading;

/// <summary>Reads the model section of tokenizer.json.</summary>
internal static class ModelReader
{
    public static ITokenModel Read(JsonPlace model)
    {
        if (model.IsNull)
            throw model.Wrong("an object with the vocabulary");
        // Older files leave the type out; a BPE model is the one with merges.
        string type = model.StringOrNull("type") ?? (model["merges"].IsNull ? "without type" : "BPE");
        return type switch
        {
            "BPE" => Bpe(model),
            "Unigram" => Unigram(model),
            _ => throw model["type"].Unsupported($"the model {type}"),
        };
    }

    private static BpeModel Bpe(JsonPlace model)
    {
        if (model["dropout"] is { IsNull: false } dropout && dropout.Value.ValueKind == JsonValueKind.Number && dropout.Value.GetDouble() > 0)
            throw dropout.Unsupported("a dropout above 0");
        string prefix = model.StringOrNull("continuing_subword_prefix") ?? "";
        Dictionary<string, int> vocabulary = Vocabulary(model["vocab"]);
        string? unk = model.StringOrNull("unk_token");
        if (unk is not null && !vocabulary.ContainsKey(unk))
            unk = null; // Some files name an unk_token that is only an added token and never produced.
        return new BpeModel(vocabulary, Merges(model["merges"], vocabulary, prefix), new BpeOptions
        {
            UnkId = unk is null ? null : vocabulary[unk],
            FuseUnk = model.Bool("fuse_unk", false),
            ByteFallback = model.Bool("byte_fallback", false),
            IgnoreMerges = model.Bool("ignore_merges", false),
            ContinuingSubwordPrefix = prefix,
            EndOfWordSuffix = model.StringOrNull("end_of_word_suffix") ?? "",
        });
    }

    private static Dictionary<string, int> Vocabulary(JsonPlace place)
    {
        var vocabulary = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (JsonProperty entry in place.Members())
        {
            if (entry.Value.ValueKind != JsonValueKind.Number || !entry.Value.TryGetInt32(out int id) || id < 0)
                throw new JsonPlace(entry.Value, place.File, $"{place.Path}[\"{entry.Name}\"]").Wrong("a token id, 0 or more");
            vocabulary[entry.Name] = id;
        }
        return vocabulary;
    }

    private static MergeTable Merges(JsonPlace place, Dictionary<string, int> vocabulary, string prefix)
    {
        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        var merges = new MergeTable(place.Value.ValueKind == JsonValueKind.Array ? place.Value.GetArrayLength() : 0);
        int rank = 0;
        foreach (JsonPlace item in place.Items())
        {
            string left, right;
            if (item.Value.ValueKind == JsonValueKind.Array && item.Value.GetArrayLength() == 2)
            {
                left = new JsonPlace(item.Value[0], item.File, item.Path + "[0]").AsString();
                right = new JsonPlace(item.Value[1], item.File, item.Path + "[1]").AsString();
            }
            else
            {
                string pair = item.AsString();
                int space = pair.IndexOf(' ');
                if (space <= 0 || pair.IndexOf(' ', space + 1) >= 0)
                    throw item.Wrong("two tokens with one space between them, or an array of two");
                left = pair[..space];
                right = pair[(space + 1)..];
            }
            ReadOnlySpan<char> tail = right.AsSpan(right.StartsWith(prefix, StringComparison.Ordinal) ? prefix.Length : 0);
            if (!vocabulary.TryGetValue(left, out int leftId) || !vocabulary.TryGetValue(right, out int rightId)
                || !lookup.TryGetValue(string.Concat(left, tail), out int id))
                throw item.Wrong("a merge of two tokens into a third, all of them in model.vocab");
            merges.Add(leftId, rightId, rank++, id);
        }
        return merges;
    }

    private static UnigramModel Unigram(JsonPlace model)
    {
        var pieces = new List<(string, double)>();
        foreach (JsonPlace entry in model["vocab"].Items())
        {
            if (entry.Value.ValueKind != JsonValueKind.Array || entry.Value.GetArrayLength() != 2
                || entry.Value[0].ValueKind != JsonValueKind.String || entry.Value[1].ValueKind != JsonValueKind.Number)
                throw entry.Wrong("a token and its score");
            pieces.Add((entry.Value[0].GetString()!, entry.Value[1].GetDouble()));
        }
        int? unk = model["unk_id"].IsNull ? null : model.Int("unk_id");
        return new UnigramModel(pieces, unk, model.Bool("byte_fallback", false));
    }
}
