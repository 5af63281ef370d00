using FineTuneCore.Tokenization.Normalizers;
using FineTuneCore.Tokenization.Regexes;

namespace FineTuneCore.Tokenization.Loading;

/// <summary>Reads the normalizer section of tokenizer.json.</summary>
internal static class NormalizerReader
{
    public static INormalizer? Read(JsonPlace place)
    {
        if (place.IsNull)
            return null;
        return place.Type switch
        {
            "Sequence" => new SequenceNormalizer([.. place["normalizers"].Items().Select(part => Read(part)!)]),
            "Prepend" => new PrependNormalizer(place.String("prepend")),
            "Replace" => new ReplaceNormalizer(Pattern(place["pattern"]), place.String("content")),
            "NFC" => new UnicodeNormalizer(UnicodeForm.Nfc),
            "NFD" => new UnicodeNormalizer(UnicodeForm.Nfd),
            "NFKC" => new UnicodeNormalizer(UnicodeForm.Nfkc),
            "NFKD" => new UnicodeNormalizer(UnicodeForm.Nfkd),
            "Lowercase" => new LowercaseNormalizer(),
            "Strip" => new StripNormalizer(place.Bool("strip_left", true), place.Bool("strip_right", true)),
            "StripAccents" => new StripAccentsNormalizer(),
            "ByteLevel" => new ByteLevelNormalizer(),
            "BertNormalizer" => Bert(place),
            "Precompiled" => Precompiled(place["precompiled_charsmap"]),
            _ => throw place.Unsupported($"the normalizer {place.Type}"),
        };
    }

    /// <summary>A pattern as Split and Replace write it: {"String": …} or {"Regex": …}.</summary>
    public static TextPattern Pattern(JsonPlace place)
    {
        if (place.StringOrNull("String") is { } literal)
            return TextPattern.Literal(literal);
        try
        {
            return TextPattern.Regex(place.String("Regex"));
        }
        catch (FormatException e)
        {
            throw new TokenizationException($"{place.File}: {place.Path}.Regex: {e.Message}; report the model", e);
        }
    }

    private static BertNormalizer Bert(JsonPlace place)
    {
        bool lowercase = place.Bool("lowercase", true);
        return new BertNormalizer(
            place.Bool("clean_text", true), place.Bool("handle_chinese_chars", true), place.Bool("strip_accents", lowercase), lowercase);
    }

    private static INormalizer Precompiled(JsonPlace charsmap)
    {
        try
        {
            return new CharsmapNormalizer(charsmap.Value.GetBytesFromBase64());
        }
        catch (Exception e) when (e is FormatException or InvalidOperationException)
        {
            throw charsmap.Wrong("a SentencePiece character map in base 64");
        }
    }
}
