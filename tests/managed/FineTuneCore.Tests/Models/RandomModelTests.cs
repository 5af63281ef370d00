using FineTuneCore.Generation;
using FineTuneCore.Models;
using FineTuneCore.Tests.Tokenization;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Models;

public sealed class RandomModelTests
{
    [Fact]
    public void ASeedNamesTheModel()
    {
        using TemporaryDirectory first = new(), second = new(), third = new();
        RandomModel.Write(first.Path, seed: 1);
        RandomModel.Write(second.Path, seed: 1);
        RandomModel.Write(third.Path, seed: 2);
        byte[] Weights(TemporaryDirectory d) => File.ReadAllBytes(Path.Combine(d.Path, "model.safetensors"));
        Weights(first).Should().Equal(Weights(second)).And.NotEqual(Weights(third));
    }

    [Fact]
    public void ItIsAModelThatAnswersInBytes()
    {
        using var directory = new TemporaryDirectory();
        RandomModel.Write(directory.Path, new RandomModelShape { ContextLength = 64 });
        using LanguageModel model = LanguageModel.Load(directory.Path, device: "cpu");
        model.ContextLength.Should().Be(64);
        model.Tokenizer.Encode("añ", addSpecialTokens: false).Ids.Should().HaveCount(3, "ñ is two bytes");
        var sampling = new SamplingOptions { MaxTokens = 5 };
        string.Concat(model.Chat([new ChatMessage("user", "hello")], sampling)).Should().Be(string.Concat(model.Chat([new ChatMessage("user", "hello")], sampling)));
    }

    public static TheoryData<int, string> WrongShapes => new()
    {
        { 0, "Layers is 0, expected 1 or more." },
        { 1, "Heads is 4, expected a multiple of KeyValueHeads (3)." },
        { 2, "HiddenSize is 60, expected an even multiple of Heads (4)." },
        { 3, "ContextLength is 7, expected 8 or more." },
    };

    [Theory]
    [MemberData(nameof(WrongShapes))]
    public void AShapeThatCannotBeIsRefused(int which, string message)
    {
        RandomModelShape[] shapes = [new() { Layers = 0 }, new() { KeyValueHeads = 3 }, new() { HiddenSize = 60 }, new() { ContextLength = 7 }];
        Action write = () => RandomModel.Write("never-written", shapes[which]);
        write.Should().Throw<FineTuneException>().WithMessage(message);
        Directory.Exists("never-written").Should().BeFalse();
    }
}
