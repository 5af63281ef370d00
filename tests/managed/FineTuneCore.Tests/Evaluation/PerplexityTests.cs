using System.Text;
using System.Text.Json;
using FineTuneCore.Evaluation;
using FineTuneCore.Generation;
using FineTuneCore.Models;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Evaluation;

/// <summary>Perplexities against llama-perplexity and a float64 computation.</summary>
public sealed class PerplexityTests
{
    private static readonly string Text = TestData.Root is null ? ""
        : Encoding.UTF8.GetString(File.ReadAllBytes(TestData.Path("datasets", "tinyshakespeare.txt")).AsSpan(0, 24_000));

    [Theory]
    [InlineData(null)]
    [InlineData("lora_golden")]
    public void LlamaCppMethodEqualsLlamaPerplexity(string? adapter)
    {
        string model = TestData.Path("models", "stories260K");
        JsonElement golden = TestData.Json("models", "stories260K", "golden_perplexity.json").GetProperty("llama_perplexity").GetProperty("numpy_float64_same_method");
        PerplexityResult result = Score(model, adapter is null ? null : Path.Combine(model, adapter), PerplexityMethod.LlamaCpp, 128);
        result.ScoredTokens.Should().Be(golden.GetProperty("predicted_tokens").GetInt64());
        double expected = golden.GetProperty(adapter is null ? "base" : "with_lora_golden_adapter").GetDouble();
        (result.Perplexity / expected).Should().BeApproximately(1, 1e-4);
    }

    [Fact]
    public void WindowsEqualTheReference()
    {
        string model = TestData.Path("models", "stories260K");
        foreach (JsonElement expected in TestData.Json("models", "stories260K", "golden_perplexity.json").GetProperty("non_overlapping_windows").GetProperty("results").EnumerateArray())
        {
            PerplexityResult result = Score(model, null, PerplexityMethod.Windows, expected.GetProperty("window").GetInt32());
            result.ScoredTokens.Should().Be(expected.GetProperty("predicted_tokens").GetInt64());
            (result.Perplexity / expected.GetProperty("perplexity").GetDouble()).Should().BeApproximately(1, 1e-4);
        }
    }

    [Fact]
    public void StrideOfTheWindowScoresEveryTokenButTheFirst()
    {
        string model = TestData.Path("models", "stories260K");
        using LanguageModel loaded = LanguageModel.Load(model, precision: "fp32");
        int[] ids = [.. loaded.Tokenizer.Encode(Text[..3000], addSpecialTokens: false).Ids];
        using var decoder = new FineTuneCore.Models.Decoder(loaded.Weights, BufferMode.Inference, 128, 128);
        PerplexityResult disjoint = Perplexity.Compute(decoder, ids, 1, PerplexityMethod.HuggingFace, 128, 128);
        PerplexityResult overlapping = Perplexity.Compute(decoder, ids, 1, PerplexityMethod.HuggingFace, 128, 32);
        disjoint.ScoredTokens.Should().BeLessThan(ids.Length + 1);
        overlapping.ScoredTokens.Should().Be(ids.Length);
        overlapping.Perplexity.Should().BeLessThan(disjoint.Perplexity, "more context helps");
    }

    private static PerplexityResult Score(string model, string? adapter, PerplexityMethod method, int window)
    {
        using LanguageModel loaded = LanguageModel.Load(model, adapter, precision: "fp32");
        int[] ids = [.. loaded.Tokenizer.Encode(Text, addSpecialTokens: false).Ids];
        using var decoder = new FineTuneCore.Models.Decoder(loaded.Weights, BufferMode.Inference, window, window);
        return Perplexity.Compute(decoder, ids, loaded.Tokenizer.BosId, method, window, window);
    }
}
