using System.Text.Json;
using FineTuneCore.Tokenization.Engine;

namespace FineTuneCore.Tokenization.Loading;

/// <summary>What tokenizer_config.json and special_tokens_map.json say about special tokens.</summary>
internal sealed class SpecialTokens
{
    private static readonly HashSet<string> s_names = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
    private readonly Dictionary<string, string> _named = [];
    private readonly HashSet<string> _additional = [];

    /// <summary>bos_token, eos_token and the like, as templates see them.</summary>
    public IReadOnlyDictionary<string, string> Named => _named;

    /// <summary>Texts of the named tokens and of additional_special_tokens.</summary>
    public IEnumerable<string> Texts => _named.Values.Concat(_additional);

    public string? this[string name] => _named.GetValueOrDefault(name);

    /// <summary>Tokens of added_tokens_decoder.</summary>
    public List<AddedToken> Declared { get; } = [];

    public bool? AddBos { get; private set; }

    public bool? AddEos { get; private set; }

    /// <summary>transformers' legacy switch: null where the file does not say.</summary>
    public bool? Legacy { get; private set; }

    public static SpecialTokens Read(string directory)
    {
        var result = new SpecialTokens();
        // The configuration wins over the older map.
        result.ReadFile(Path.Combine(directory, "special_tokens_map.json"));
        result.ReadFile(Path.Combine(directory, "tokenizer_config.json"));
        return result;
    }

    private void ReadFile(string file)
    {
        if (!File.Exists(file))
            return;
        using JsonDocument document = JsonFiles.Open(file);
        var root = new JsonPlace(document.RootElement, file, "$");
        foreach (JsonProperty member in root.Members())
        {
            JsonPlace place = root[member.Name];
            if (s_names.Contains(member.Name) && Text(place) is { } text)
                _named[member.Name] = text;
        }
        if (root["additional_special_tokens"] is { Value.ValueKind: JsonValueKind.Array } additional)
            _additional.UnionWith(additional.Items().Select(Text).OfType<string>());
        AddBos = root["add_bos_token"].IsNull ? AddBos : root.Bool("add_bos_token", false);
        AddEos = root["add_eos_token"].IsNull ? AddEos : root.Bool("add_eos_token", false);
        Legacy = root["legacy"].IsNull ? Legacy : root.Bool("legacy", true);
        if (root["added_tokens_decoder"] is { IsNull: false } declared)
            foreach (JsonProperty entry in declared.Members())
                if (int.TryParse(entry.Name, out int id))
                    Declared.Add(TokenizerJsonReader.AddedToken(declared[entry.Name], id));
    }

    // A token is written as a string or as an object with its content.
    private static string? Text(JsonPlace place) => place.Value.ValueKind switch
    {
        JsonValueKind.String => place.AsString(),
        JsonValueKind.Object => place.String("content"),
        JsonValueKind.Null => null,
        _ => throw place.Wrong("a string or an object with content"),
    };
}
