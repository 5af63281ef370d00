using System.Text.Json;
using FineTuneCore.Tokenization.Decoders;
using FineTuneCore.Tokenization.Engine;
using FineTuneCore.Tokenization.Loading;
using FineTuneCore.Tokenization.Models;
using FineTuneCore.Tokenization.Normalizers;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Tokenization;

/// <summary>Single stages as tokenizer.json spells them.</summary>
public sealed class StageTests
{
    [Theory]
    [InlineData("""{"type": "Lowercase"}""", "ÀB İ", "àb i\u0307")]
    [InlineData("""{"type": "Strip", "strip_left": true, "strip_right": false}""", "  a ", "a ")]
    [InlineData("""{"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]}""", "é ü", "e u")]
    [InlineData("""{"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}""", "a \n\t b", "a b")]
    [InlineData("""{"type": "Prepend", "prepend": "▁"}""", "a", "▁a")]
    [InlineData("""{"type": "Prepend", "prepend": "▁"}""", "", "")]
    [InlineData("""{"type": "ByteLevel"}""", "é ", "Ã©Ġ")]
    [InlineData("""{"type": "BertNormalizer", "lowercase": true}""", "Hé\u0000l\tlo我x", "hel lo 我 x")]
    public void Normalizers(string json, string text, string expected) => NormalizerReader.Read(Json(json))!.Apply(new AlignedText(text)).Text.Should().Be(expected);

    [Theory]
    [InlineData("""{"type": "Digits", "individual_digits": true}""", "a12 3", "a|1|2| |3")]
    [InlineData("""{"type": "Digits", "individual_digits": false}""", "a12 3", "a|12| |3")]
    [InlineData("""{"type": "Whitespace"}""", "Hi, you_2!  ok", "Hi|,|you_2|!|ok")]
    [InlineData("""{"type": "WhitespaceSplit"}""", "Hi, you!\n ok", "Hi,|you!|ok")]
    [InlineData("""{"type": "Punctuation"}""", "a,b$!", "a|,|b|$|!")]
    [InlineData("""{"type": "Punctuation", "behavior": "Contiguous"}""", "a,b$!", "a|,|b|$!")]
    [InlineData("""{"type": "BertPreTokenizer"}""", "a, b", "a|,|b")]
    [InlineData("""{"type": "CharDelimiterSplit", "delimiter": "-"}""", "a-b", "a|b")]
    [InlineData("""{"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false}""", "a b  c", "a |b | |c")]
    [InlineData("""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}""", "a  b", "▁a|▁|▁b")]
    [InlineData("""{"type": "Metaspace", "replacement": "▁", "add_prefix_space": false}""", "a b", "a|▁b")]
    [InlineData("""{"type": "ByteLevel", "add_prefix_space": true}""", "é's", "ĠÃ©|'s")]
    [InlineData("""{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}""", "a b", "aĠb")]
    public void PreTokenizers(string json, string text, string expected) =>
        PreTokenizerReader.Read(Json(json))!.Apply([new Piece(new AlignedText(text), 0, text.Length)]).Select(piece => piece.Span.ToString())
            .Should().Equal(expected.Split('|'));

    [Theory]
    [InlineData("""{"type": "ByteLevel"}""", "ĠÃ|©|x", " éx")]
    [InlineData("""{"type": "ByteLevel"}""", "Ã", "\uFFFD")]
    [InlineData("""{"type": "ByteFallback"}""", "a|<0xC3>|<0xA9>|b|<0xC3>|c", "aéb\uFFFDc")]
    [InlineData("""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}""", "▁a|▁b", "a b")]
    [InlineData("""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"}""", "▁a|▁b", " a b")]
    [InlineData("""{"type": "BPEDecoder", "suffix": "</w>"}""", "he|y</w>|you</w>", "hey you")]
    [InlineData("""{"type": "Strip", "content": " ", "start": 1, "stop": 1}""", "  a  ", " a ")]
    [InlineData("""{"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}""", "▁a|▁b", "a b")]
    public void Decoders(string json, string tokens, string expected) =>
        string.Concat(DecoderReader.Read(Json(json))!.Apply([.. tokens.Split('|')])).Should().Be(expected);

    [Fact]
    public void Unigram_takes_the_cut_with_the_highest_score()
    {
        var model = new UnigramModel([("<unk>", 0), ("a", -2), ("b", -2), ("ab", -3), ("abc", -6), ("c", -2.5), ("bc", -1)], 0, byteFallback: false);
        Ids(model, "abc").Should().Equal(1, 6); // a + bc = -3 beats ab + c = -5.5 and abc = -6
        Ids(model, "abab").Should().Equal(3, 3);
        Ids(model, "axyb").Should().Equal(1, 0, 2);
        Ids(model, "").Should().BeEmpty();
    }

    [Fact]
    public void Unigram_spells_the_unknown_as_bytes_where_asked()
    {
        List<(string, double)> pieces = [("<unk>", 0), ("a", -1)];
        pieces.AddRange(Enumerable.Range(0, 256).Select(b => ($"<0x{b:X2}>", 0.0)));
        Ids(new UnigramModel(pieces, 0, byteFallback: true), "aé").Should().Equal(1, 2 + 0xC3, 2 + 0xA9);
    }

    [Fact]
    public void A_compiled_character_map_replaces_the_longest_match()
    {
        // A trie with the keys U+FB01 (EF AC 81) -> "fi" and "A" -> "a", in the units of Darts-clone; a unit is label, leaf bit 8 and offset << 10.
        var units = new uint[1024];
        void Node(int at, byte label, int offset, bool leaf) => units[at] = label | (leaf ? 1u << 8 : 0) | ((uint)offset << 10);
        units[0] = 256u << 10;
        int first = 256 ^ 0xEF;
        Node(first, 0xEF, first ^ 512, false);
        int second = 512 ^ 0xAC;
        Node(second, 0xAC, second ^ 768, false);
        int third = 768 ^ 0x81;
        Node(third, 0x81, third ^ 100, true);
        units[100] = 0x80000000u | 0; // "fi" begins at 0
        int capital = 256 ^ 0x41;
        Node(capital, 0x41, capital ^ 101, true);
        units[101] = 0x80000000u | 3; // "a" begins at 3
        byte[] data = [.. BitConverter.GetBytes(units.Length * 4), .. units.SelectMany(BitConverter.GetBytes), .. "fi\0a\0"u8];
        AlignedText result = new CharsmapNormalizer(data).Apply(new AlignedText("xAﬁ🦙"));
        result.Text.Should().Be("xafi🦙");
        (result.StartOf(3), result.EndOf(3), result.EndOf(4)).Should().Be((2, 3, 5));
        FluentActions.Invoking(() => new CharsmapNormalizer(data.AsSpan(0, 100))).Should().Throw<FormatException>();
    }

    private static List<int> Ids(UnigramModel model, string text)
    {
        var tokens = new TokenBuffer();
        model.Tokenize(new Piece(new AlignedText(text), 0, text.Length), tokens);
        return tokens.Ids;
    }

    private static JsonPlace Json(string json) => new(JsonDocument.Parse(json).RootElement, "test", "$");
}
