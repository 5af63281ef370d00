using System.Diagnostics;
using System.Text;
using System.Text.Json;
using FineTuneCore.Tokenization;
using FluentAssertions;
using FsCheck;
using FsCheck.Xunit;
using Xunit;

namespace FineTuneCore.Tests.Tokenization;

/// <summary>What holds for every text, with a byte-level vocabulary of single bytes and a few merges.</summary>
public sealed class TokenizerPropertyTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly Tokenizer _tokenizer;

    public TokenizerPropertyTests()
    {
        var vocabulary = new Dictionary<string, int>();
        for (int b = 0; b < 256; b++)
            vocabulary[FineTuneCore.Tokenization.Engine.ByteAlphabet.ToCharacter((byte)b).ToString()] = b;
        string[] merges = ["t h", "th e", "Ġ the", "Ġ a", "i n", "in g", "Ġ Ġ", "ð Ł"];
        foreach (string merge in merges)
            vocabulary[merge.Replace(" ", "")] = vocabulary.Count;
        string vocab = string.Join(", ", vocabulary.Select(entry => $"{JsonSerializer.Serialize(entry.Key)}: {entry.Value}"));
        _directory.File("tokenizer.json", $$"""
            {"added_tokens": [{"id": {{vocabulary.Count}}, "content": "<|end|>", "special": true}], "normalizer": null,
             "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "post_processor": null, "decoder": {"type": "ByteLevel"},
             "model": {"type": "BPE", "vocab": { {{vocab}} }, "merges": [{{string.Join(", ", merges.Select(m => $"\"{m}\""))}}] } }
            """);
        _tokenizer = Tokenizer.Load(_directory.Path);
    }

    public void Dispose() => _directory.Dispose();

    [Property(MaxTest = 300, Arbitrary = [typeof(UnicodeText)])]
    public bool Decoding_gives_the_text_back(UnicodeText sample) =>
        _tokenizer.Decode([.. _tokenizer.Encode(sample.Value, true).Ids], skipSpecialTokens: false) == sample.Value;

    [Property(MaxTest = 300, Arbitrary = [typeof(UnicodeText)])]
    public bool Offsets_are_in_order_and_cover_the_text(UnicodeText sample)
    {
        int end = 0;
        foreach (TextRange range in _tokenizer.Encode(sample.Value, true).Offsets)
        {
            if (range.Start > end || range.End < end || range.Start >= range.End)
                return false;
            end = range.End;
        }
        return end == sample.Value.Length;
    }

    [Property(MaxTest = 200, Arbitrary = [typeof(UnicodeText)])]
    public bool Streaming_yields_what_decoding_at_once_yields(UnicodeText sample)
    {
        IReadOnlyList<int> ids = _tokenizer.Encode(sample.Value, true).Ids;
        StreamingDecoder decoder = _tokenizer.CreateStreamingDecoder(skipSpecialTokens: false);
        string streamed = string.Concat(ids.Select(decoder.Add)) + decoder.Flush();
        return streamed == sample.Value;
    }

    [Property(MaxTest = 300, Arbitrary = [typeof(UnicodeText)])]
    public bool Any_UTF16_at_all_is_encoded(string? text)
    {
        string any = text ?? "\uD800";
        byte[] expected = Encoding.UTF8.GetBytes(any);
        return _tokenizer.Decode([.. _tokenizer.Encode(any, true).Ids], false) == Encoding.UTF8.GetString(expected);
    }

    [Fact]
    public void Streaming_holds_an_emoji_back_until_it_is_whole()
    {
        StreamingDecoder decoder = _tokenizer.CreateStreamingDecoder();
        _tokenizer.Encode("🦙!", false).Ids.Select(decoder.Add).Should().Equal("", "", "🦙", "!");
    }

    [Fact]
    public void A_long_text_without_any_cut_is_encoded_in_reasonable_time()
    {
        string source = TestData.Path("tokenizers", "TinyLlama-1.1B-Chat-v1.0");
        string text = File.ReadAllText(TestData.Path("datasets", "tinyshakespeare.txt"))[..300_000];
        Tokenizer tokenizer = Tokenizer.Load(source);
        var watch = Stopwatch.StartNew();
        TokenEncoding encoding = tokenizer.Encode(text, true);
        tokenizer.Encode(new string('x', 100_000), false).Ids.Count.Should().BeLessThan(100_000);
        watch.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(15), "merging is n log n, not quadratic");
        (tokenizer.Decode([.. encoding.Ids], true) == text).Should().BeTrue();
    }

    /// <summary>Text of letters, spaces, marks, CJK, emoji and special tokens.</summary>
    public sealed record UnicodeText(string Value)
    {
        private static readonly string[] s_parts =
            ["the ", "thing", " a", "  ", "\n", "é", "e\u0301", "我", "🦙", "👩\u200d🚀", "𠀀", "<|end|>", "<|", "0", "\u00a0", "ß", "\0", "'ll", "\ufffd"];

        public static Arbitrary<UnicodeText> Arbitrary() => FsCheck.Fluent.Arb.From(
            FsCheck.Fluent.Gen.Select(FsCheck.Fluent.Gen.ListOf(FsCheck.Fluent.Gen.Elements(s_parts)), parts => new UnicodeText(string.Concat(parts))));
    }
}
