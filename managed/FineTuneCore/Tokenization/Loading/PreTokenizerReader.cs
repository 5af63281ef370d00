using FineTuneCore.Tokenization.PreTokenizers;
using FineTuneCore.Tokenization.Regexes;

namespace FineTuneCore.Tokenization.Loading;

/// <summary>Reads the pre_tokenizer section of tokenizer.json.</summary>
internal static class PreTokenizerReader
{
    // Rust's \w, unlike Oniguruma's, has the two joiners and lacks fractions and raised digits.
    private const string RustWord = @"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\u24B6-\u24E9\u200C\u200D";
    private const string Words = $@"[{RustWord}]+|[^{RustWord}\s]+";
    private const string Punctuation = @"[\p{P}$+<=>^`|~]";

    public static IPreTokenizer? Read(JsonPlace place)
    {
        if (place.IsNull)
            return null;
        return place.Type switch
        {
            "Sequence" => new SequencePreTokenizer([.. place["pretokenizers"].Items().Select(part => Read(part)!)]),
            "ByteLevel" => new ByteLevelPreTokenizer(place.Bool("add_prefix_space", true), place.Bool("use_regex", true)),
            "Split" => new SplitPreTokenizer(NormalizerReader.Pattern(place["pattern"]), Behavior(place["behavior"]), place.Bool("invert", false)),
            "Metaspace" => new MetaspacePreTokenizer(Replacement(place), Scheme(place), place.Bool("split", true)),
            "Digits" => new SplitPreTokenizer(
                TextPattern.Regex(@"\p{N}"), place.Bool("individual_digits", false) ? SplitBehavior.Isolated : SplitBehavior.Contiguous),
            "Whitespace" => new SplitPreTokenizer(TextPattern.Regex(Words), SplitBehavior.Removed, invert: true),
            "WhitespaceSplit" => new SplitPreTokenizer(TextPattern.Regex(@"\s"), SplitBehavior.Removed),
            "Punctuation" => new SplitPreTokenizer(
                TextPattern.Regex(Punctuation), place["behavior"].IsNull ? SplitBehavior.Isolated : Behavior(place["behavior"])),
            "CharDelimiterSplit" => new SplitPreTokenizer(TextPattern.Literal(place.String("delimiter")), SplitBehavior.Removed),
            "BertPreTokenizer" => new SequencePreTokenizer(
            [
                new SplitPreTokenizer(TextPattern.Regex(@"\s"), SplitBehavior.Removed),
                new SplitPreTokenizer(TextPattern.Regex(Punctuation), SplitBehavior.Isolated),
            ]),
            _ => throw place.Unsupported($"the pre-tokenizer {place.Type}"),
        };
    }

    /// <summary>The sign of Metaspace; one character.</summary>
    public static string Replacement(JsonPlace place)
    {
        string sign = place.StringOrNull("replacement") ?? "\u2581";
        return sign.Length == 1 ? sign : throw place["replacement"].Wrong("one character");
    }

    /// <summary>prepend_scheme, or what add_prefix_space of older files amounts to.</summary>
    public static PrependScheme Scheme(JsonPlace place) => place.StringOrNull("prepend_scheme") switch
    {
        "always" => PrependScheme.Always,
        "first" => PrependScheme.First,
        "never" => PrependScheme.Never,
        null => place.Bool("add_prefix_space", true) ? PrependScheme.Always : PrependScheme.Never,
        _ => throw place["prepend_scheme"].Wrong("always, first or never"),
    };

    private static SplitBehavior Behavior(JsonPlace place) => place.AsString().ToUpperInvariant() switch
    {
        "REMOVED" => SplitBehavior.Removed,
        "ISOLATED" => SplitBehavior.Isolated,
        "MERGEDWITHPREVIOUS" => SplitBehavior.MergedWithPrevious,
        "MERGEDWITHNEXT" => SplitBehavior.MergedWithNext,
        "CONTIGUOUS" => SplitBehavior.Contiguous,
        _ => throw place.Wrong("Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous"),
    };
}
