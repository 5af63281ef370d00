using System.Text.Json;
using FineTuneCore.Generation;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Generation;

public sealed class GenerationTests
{
    [Fact]
    public void GreedyStoryEqualsTheReference()
    {
        JsonElement golden = TestData.Json("models", "stories260K", "golden_generation.json");
        using LanguageModel model = LanguageModel.Load(TestData.Path("models", "stories260K"), precision: "fp32");
        int[] prompt = golden.GetProperty("prompt_ids").Ints();
        int[] expected = golden.GetProperty("output_ids").Ints();
        int[] made = [.. model.GenerateIds(prompt, new SamplingOptions { MaxTokens = 256 })];
        prompt.Concat(made).Should().Equal(expected);
        string text = string.Concat(model.Generate("", new SamplingOptions { MaxTokens = 256 }));
        text.Trim().Should().Be(golden.GetProperty("text").GetString()!.Trim());
    }

    [Fact]
    public void APromptInOnePassEqualsTokenByToken()
    {
        using LanguageModel model = LanguageModel.Load(TestData.Path("models", "stories260K"), precision: "fp32");
        int[] prompt = [.. model.Tokenizer.Encode("One day, Tim found a big red ball in the park and", true).Ids];
        int[] whole = [.. model.GenerateIds(prompt, new SamplingOptions { MaxTokens = 40 })];
        int[] grown = [.. prompt];
        for (int i = 0; i < whole.Length; i++) grown = [.. grown, model.GenerateIds(grown, new SamplingOptions { MaxTokens = 1 }).Single()];
        grown[prompt.Length..].Should().Equal(whole);
    }

    [Fact]
    public void SamplingIsRepeatableAndTopKOneIsGreedy()
    {
        using LanguageModel model = LanguageModel.Load(TestData.Path("models", "stories260K"), precision: "fp32");
        int[] Make(SamplingOptions options) => [.. model.GenerateIds([1], options)];
        var warm = new SamplingOptions { Temperature = 0.9, TopP = 0.9, Seed = 7, MaxTokens = 50 };
        Make(warm).Should().Equal(Make(warm));
        Make(warm).Should().NotEqual(Make(warm with { Seed = 8 }));
        Make(new SamplingOptions { Temperature = 1, TopK = 1, MaxTokens = 50 }).Should().Equal(Make(new SamplingOptions { MaxTokens = 50 }));
    }

    [Fact]
    public void StopTextsEndTheAnswerAndAreNotPartOfIt()
    {
        using LanguageModel model = LanguageModel.Load(TestData.Path("models", "stories260K"), precision: "fp32");
        string text = string.Concat(model.Generate("Once upon", new SamplingOptions { MaxTokens = 60, Stop = ["named Lily"] }));
        text.Should().EndWith("girl ").And.NotContain("named");
    }

    [Fact]
    public void APromptLongerThanTheContextIsRefusedWithBothNumbers()
    {
        using LanguageModel model = LanguageModel.Load(TestData.Path("models", "stories260K"), precision: "fp32");
        Action act = () => model.GenerateIds([.. Enumerable.Repeat(5, 512)], new SamplingOptions()).ToArray();
        act.Should().Throw<FineTuneException>().WithMessage("*512 tokens*context is 512*");
    }
}
