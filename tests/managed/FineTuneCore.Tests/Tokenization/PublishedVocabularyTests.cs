using System.Text.Json;
using FineTuneCore.Tokenization;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Tokenization;

/// <summary>Whole vocabularies against the ids that llama.cpp publishes with them.</summary>
public sealed class PublishedVocabularyTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Gpt2_as_tokenizer_json_gives_the_published_ids(bool mergesAsPairs)
    {
        string gguf = TestData.Path("tokenizers", "llama.cpp-vocabs", "ggml-vocab-gpt-2.gguf");
        using var directory = new TemporaryDirectory();
        VocabularyFiles.WriteByteLevelJson(gguf, directory.Path, mergesAsPairs);
        CheckAll(Tokenizer.Load(directory.Path), "gpt-2", addSpecialTokens: false);
    }

    [Fact]
    public void Llama2_as_SentencePiece_model_gives_the_published_ids()
    {
        string gguf = TestData.Path("tokenizers", "llama.cpp-vocabs", "ggml-vocab-llama-spm.gguf");
        using var directory = new TemporaryDirectory();
        VocabularyFiles.WriteSentencePiece(gguf, directory.Path);
        Tokenizer tokenizer = Tokenizer.Load(directory.Path);
        CheckAll(tokenizer, "llama-spm", addSpecialTokens: false);
        tokenizer.Encode("x", addSpecialTokens: true).Ids[0].Should().Be(1, "add_bos_token is on unless the configuration says otherwise");
    }

    [Theory]
    [InlineData("tokenizer.json")]
    [InlineData("tokenizer.model")]
    public void TinyLlama_gives_the_published_ids(string file)
    {
        string source = TestData.Path("tokenizers", "TinyLlama-1.1B-Chat-v1.0");
        using var directory = new TemporaryDirectory();
        foreach (string name in new[] { file, "tokenizer_config.json", "special_tokens_map.json" })
            File.Copy(Path.Combine(source, name), Path.Combine(directory.Path, name));
        Tokenizer tokenizer = Tokenizer.Load(directory.Path);
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(source, "golden_ids.json")));
        foreach (JsonElement test in golden.RootElement.GetProperty("cases").EnumerateArray())
            Check(tokenizer, test.GetProperty("text").GetString()!, test.GetProperty("ids"), false);
        tokenizer.BosId.Should().Be(1);
        tokenizer.EosId.Should().Be(2);
        tokenizer.PadToken.Should().Be("</s>");
        tokenizer.AddsBos.Should().BeTrue();
        tokenizer.VocabSize.Should().Be(32000);
    }

    [Theory]
    [InlineData("tokenizer.json")]
    [InlineData("tokenizer.model")]
    public void Stories260K_gives_ids_tokens_and_text(string file)
    {
        string source = TestData.Path("models", "stories260K");
        using var directory = new TemporaryDirectory();
        foreach (string name in new[] { file, "tokenizer_config.json" })
            File.Copy(Path.Combine(source, name), Path.Combine(directory.Path, name));
        Tokenizer tokenizer = Tokenizer.Load(directory.Path);
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(source, "golden_tokenizer.json")));
        foreach (JsonElement test in golden.RootElement.GetProperty("cases").EnumerateArray())
        {
            string text = test.GetProperty("text").GetString()!;
            TokenEncoding encoding = Check(tokenizer, text, test.GetProperty("ids"), true);
            encoding.Tokens.Should().Equal(test.GetProperty("tokens").EnumerateArray().Select(token => token.GetString()), text);
            tokenizer.Decode([.. encoding.Ids], true).Should().Be(test.GetProperty("decoded").GetString());
        }
    }

    private static void CheckAll(Tokenizer tokenizer, string name, bool addSpecialTokens)
    {
        string file = TestData.Path("tokenizers", "llama.cpp-vocabs", "cases.json");
        using JsonDocument cases = JsonDocument.Parse(File.ReadAllBytes(file));
        JsonElement texts = cases.RootElement.GetProperty("texts");
        JsonElement ids = cases.RootElement.GetProperty("ids").GetProperty(name);
        texts.GetArrayLength().Should().Be(47);
        for (int i = 0; i < 47; i++)
        {
            string text = texts[i].GetString()!;
            TokenEncoding encoding = Check(tokenizer, text, ids[i], addSpecialTokens);
            tokenizer.Decode([.. encoding.Ids], false).Should().Be(text);
        }
    }

    private static TokenEncoding Check(Tokenizer tokenizer, string text, JsonElement ids, bool addSpecialTokens)
    {
        TokenEncoding encoding = tokenizer.Encode(text, addSpecialTokens);
        encoding.Ids.Should().Equal(ids.EnumerateArray().Select(id => id.GetInt32()), "these are the published ids of {0}", text);
        return encoding;
    }
}
