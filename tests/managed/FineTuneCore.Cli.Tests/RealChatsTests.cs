using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using FineTuneCore.Tests;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests;

/// <summary>The whole road on real chats and a real model: train, reload, evaluate, merge.</summary>
public sealed class RealChatsTests
{
    [Theory]
    [InlineData("openai_cookbook_toy_chat_fine_tuning.jsonl", "lora", "6")]
    [InlineData("gsm8k_train_1000_messages.jsonl", "lora", "24")]
    [InlineData("gsm8k_train_1000_messages.jsonl", "qlora", "16")]
    [InlineData("gsm8k_train_1000_messages.jsonl", "full", "16")]
    public void ValidationLossFallsTheResultReloadsAndMerges(string data, string method, string steps)
    {
        using var temporary = new TemporaryDirectory();
        string run = temporary.File("run"), file = TestData.Path("datasets", data);
        FtcProcess.Result trained = FtcProcess.Run(
            "train", "--model", TestData.Path("models", "stories260K"), "--data", file, "--chat-template", "chatml", "--overflow", "truncate",
            "--sequence-length", "384", "--validation-fraction", "0.03", "--method", method, "--learning-rate", "2e-3", "--max-steps", steps, "--eval-every", "8",
            "--output", run, "--json");
        trained.ExitCode.Should().Be(0, trained.Error);
        JsonElement completed = Event(trained.Output, "completed");
        double before = completed.GetProperty("initial_validation_loss").GetDouble(), after = completed.GetProperty("final_validation_loss").GetDouble();
        after.Should().BeLessThan(0.95 * before);

        // What was saved scores what the run said, on data cut in the same way.
        string saved = method == "full" ? Path.Combine(run, "model") : Path.Combine(run, "adapter");
        Directory.Exists(saved).Should().BeTrue();
        FtcProcess.Result evaluated = FtcProcess.Run("eval", "--model", run, "--data", TestData.Path("datasets", "openai_dotnet_fine_tuning_sample.jsonl"), "--overflow", "truncate", "--json");
        evaluated.ExitCode.Should().Be(0, evaluated.Error);
        double.IsFinite(JsonDocument.Parse(evaluated.Output).RootElement.GetProperty("loss").GetDouble()).Should().BeTrue();
        if (method == "full") return;

        FtcProcess.Result merged = FtcProcess.Run("merge", "--model", run, "--output", temporary.File("merged"));
        merged.ExitCode.Should().Be(0, merged.Error);
        Difference(merged.Output).Should().BeLessThan(1e-4);
    }

    [Fact]
    public void AnotherRunWithTheSameSeedGivesTheSameBits()
    {
        using var temporary = new TemporaryDirectory();
        byte[][] adapters = [.. ((string[])["a", "b"]).Select(name =>
        {
            FtcProcess.Result result = FtcProcess.Run(
                "train", "--model", TestData.Path("models", "stories260K"), "--data", TestData.Path("datasets", "openai_dotnet_fine_tuning_sample.jsonl"),
                "--chat-template", "plain", "--overflow", "truncate", "--max-steps", "5", "--dropout", "0.1", "--output", temporary.File(name));
            result.ExitCode.Should().Be(0, result.Error);
            return File.ReadAllBytes(Path.Combine(temporary.File(name), "adapter", "adapter_model.safetensors"));
        })];
        adapters[0].Should().Equal(adapters[1]);
    }

    internal static JsonElement Event(string output, string kind) => output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
        .Select(line => JsonDocument.Parse(line).RootElement).Single(e => e.GetProperty("event").GetString() == kind);

    private static double Difference(string output) =>
        double.Parse(Regex.Match(output, @"at most (\S+) apart").Groups[1].Value, CultureInfo.InvariantCulture);
}
