using System.Text;
using FineTuneCore.Tokenization;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Tokenization;

/// <summary>SentencePiece models written here, piece by piece.</summary>
public sealed class SentencePieceTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void A_unigram_model_is_read()
    {
        Tokenizer tokenizer = Load(modelType: 1, removeExtraWhitespaces: true);
        tokenizer.Encode("  ab   a ", false).Tokens.Should().Equal("▁ab", "▁a");
        tokenizer.Decode([.. tokenizer.Encode("ab a", true).Ids], true).Should().Be("ab a");
        tokenizer.Encode("ab", true).Ids[0].Should().Be(1);
    }

    [Fact]
    public void A_BPE_model_merges_by_score()
    {
        Tokenizer tokenizer = Load(modelType: 2, removeExtraWhitespaces: false);
        tokenizer.Encode("ab", false).Tokens.Should().Equal("▁", "ab"); // "ab" scores above "▁a", so it joins first.
        tokenizer.Encode("z", false).Tokens.Should().Equal("▁", "<unk>");
    }

    [Fact]
    public void User_defined_pieces_are_never_split()
    {
        Tokenizer tokenizer = Load(modelType: 2, removeExtraWhitespaces: false);
        tokenizer.Encode("a<x>b", false).Tokens.Should().Contain("<x>");
    }

    [Theory]
    [InlineData(true, "a<s>a", 2)]
    [InlineData(false, "a<s>a", 1)]
    public void The_prefix_comes_after_special_tokens_only_in_the_legacy_way(bool legacy, string text, int prefixed)
    {
        _directory.File("tokenizer_config.json", $$"""{"legacy": {{(legacy ? "true" : "false")}}, "add_bos_token": false, "bos_token": "<s>"}""");
        Load(modelType: 2, removeExtraWhitespaces: false).Encode(text, true).Tokens.Count(token => token.StartsWith('▁')).Should().Be(prefixed);
    }

    [Fact]
    public void The_configuration_decides_about_BOS_and_EOS()
    {
        _directory.File("tokenizer_config.json", """{"add_bos_token": false, "add_eos_token": true, "eos_token": "</s>", "bos_token": "<s>"}""");
        Tokenizer tokenizer = Load(modelType: 1, removeExtraWhitespaces: false);
        tokenizer.Encode("a", true).Tokens.Should().Equal("▁a", "</s>");
        (tokenizer.AddsBos, tokenizer.AddsEos).Should().Be((false, true));
    }

    [Fact]
    public void What_the_engine_does_not_do_is_refused_by_name() =>
        FluentActions.Invoking(() => Load(modelType: 3, removeExtraWhitespaces: false)).Should().Throw<TokenizationException>().WithMessage("*model type 3*tokenizer.json*");

    private Tokenizer Load(int modelType, bool removeExtraWhitespaces)
    {
        (string Text, float Score, int Type)[] pieces =
        [
            ("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3), ("▁", -6, 1), ("a", -7, 1), ("b", -8, 1), ("ab", -1, 1), ("▁a", -2, 1), ("▁ab", modelType == 1 ? -1.5f : -20, 1), ("<x>", 0, 4),
        ];
        if (modelType == 2)
            pieces[8] = ("▁ba", -20, 1);
        var model = new List<byte>();
        foreach ((string text, float score, int type) in pieces)
        {
            byte[] utf8 = Encoding.UTF8.GetBytes(text);
            byte[] piece = [0x0A, (byte)utf8.Length, .. utf8, 0x15, .. BitConverter.GetBytes(score), 0x18, (byte)type];
            model.AddRange([0x0A, (byte)piece.Length, .. piece]);
        }
        model.AddRange([0x12, 2, 0x18, (byte)modelType]);
        model.AddRange([0x1A, 2, 0x20, (byte)(removeExtraWhitespaces ? 1 : 0)]);
        File.WriteAllBytes(Path.Combine(_directory.Path, "tokenizer.model"), [.. model]);
        return Tokenizer.Load(_directory.Path);
    }
}
