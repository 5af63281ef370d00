using System.Text.Json;
using FineTuneCore.TinyBase.Corpus;
using FineTuneCore.Tokenization;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.TinyBase.Tests;

public class TinyTokenizerTests
{
    private static readonly List<string> s_documents = [.. CorpusWriter.Documents(300, 3)];

    private static Tokenizer Train(TemporaryDirectory directory, int vocabSize = 700)
    {
        TinyTokenizer.TrainAndWrite(directory.Path, s_documents, vocabSize);
        return Tokenizer.Load(directory.Path);
    }

    [Fact]
    public void TrainedTwiceTheFilesAreTheSame()
    {
        using TemporaryDirectory first = new(), second = new();
        Train(first);
        Train(second);
        foreach (string name in (string[])["tokenizer.json", "tokenizer_config.json"]) first.Bytes(name).Should().Equal(second.Bytes(name));
    }

    [Fact]
    public void EveryTextComesBack()
    {
        using var directory = new TemporaryDirectory();
        Tokenizer tokenizer = Train(directory);
        foreach (string text in (string[])[.. s_documents, "", " ", "\r\n\t", "naïve 日本語 🙂 \0", "<|im_start|>", "12 345"])
            tokenizer.Decode([.. tokenizer.Encode(text, addSpecialTokens: true).Ids], skipSpecialTokens: false).Should().Be(text);
    }

    [Fact]
    public void VocabularyIsAsLargeAsAskedAndDigitsStandAlone()
    {
        using var directory = new TemporaryDirectory();
        Tokenizer tokenizer = Train(directory);
        tokenizer.VocabSize.Should().Be(700);
        tokenizer.Encode("2025", addSpecialTokens: false).Ids.Should().HaveCount(4);
        (tokenizer.EosToken, tokenizer.EosId, tokenizer.AddsBos).Should().Be((ChatMlTokenizer.TextEnd, 0, false));
        tokenizer.Encode("<|im_start|>a<|im_end|>", addSpecialTokens: false).Ids.Should().StartWith(1).And.EndWith(2);
    }

    [Fact]
    public void TextsOfTheCorpusBecomeShort()
    {
        using var directory = new TemporaryDirectory();
        Tokenizer tokenizer = Train(directory);
        double characters = s_documents.Sum(d => d.Length), tokens = s_documents.Sum(d => tokenizer.Encode(d, addSpecialTokens: false).Ids.Count);
        (characters / tokens).Should().BeGreaterThan(3);
    }

    [Fact]
    public void TheTemplateWritesChatsAsTheCorpusDoes()
    {
        using var directory = new TemporaryDirectory();
        Train(directory);
        using JsonDocument messages = JsonDocument.Parse("""[{"role":"user","content":"Hi!"},{"role":"assistant","content":"Hello!"},{"role":"user","content":"Bye."}]""");
        ChatTemplate template = ChatTemplate.FromModelDirectory(directory.Path)!;
        template.Render(new ChatRequest { Messages = messages.RootElement, AddGenerationPrompt = true }).Text.Should().Be(
            "<|im_start|>user\nHi!<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye.<|im_end|>\n<|im_start|>assistant\n");
    }
}
