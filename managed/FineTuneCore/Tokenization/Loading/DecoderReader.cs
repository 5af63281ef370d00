using FineTuneCore.Tokenization.Decoders;

namespace FineTuneCore.Tokenization.Loading;

/// <summary>Reads the decoder section of tokenizer.json.</summary>
internal static class DecoderReader
{
    public static IDecoder? Read(JsonPlace place)
    {
        if (place.IsNull)
            return null;
        return place.Type switch
        {
            "Sequence" => new SequenceDecoder([.. place["decoders"].Items().Select(part => Read(part)!)]),
            "ByteLevel" => new ByteLevelDecoder(),
            "ByteFallback" => new ByteFallbackDecoder(),
            "Fuse" => new FuseDecoder(),
            "Strip" => Strip(place),
            "Replace" => new ReplaceDecoder(NormalizerReader.Pattern(place["pattern"]), place.String("content")),
            "Metaspace" => new MetaspaceDecoder(PreTokenizerReader.Replacement(place)[0], PreTokenizerReader.Scheme(place)),
            "BPEDecoder" => new SuffixDecoder(place.StringOrNull("suffix") ?? "</w>"),
            _ => throw place.Unsupported($"the decoder {place.Type}"),
        };
    }

    private static StripDecoder Strip(JsonPlace place)
    {
        string content = place.String("content");
        return content.Length == 1
            ? new StripDecoder(content[0], place.Int("start"), place.Int("stop"))
            : throw place["content"].Wrong("one character");
    }
}
