using System.Text.Json;
using FineTuneCore.Tests;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests.Cuda;

/// <summary>Generating, scoring, merging and quantising on CUDA against the CPU library.</summary>
public sealed class CudaInferenceTests
{
    private static string Model => TestData.Path("models", "stories260K");

    [Fact]
    public void GreedyTextIsTheCpus()
    {
        string[] arguments = ["generate", "--model", Model, "--prompt", "Once upon a time", "--max-tokens", "12"];
        FtcProcess.Result cuda = CudaLibrary.Run([.. arguments, "--device", "cuda", "--precision", "fp32"]);
        cuda.ExitCode.Should().Be(0, cuda.Error);
        cuda.Output.Should().Be(FtcProcess.Run([.. arguments, "--device", "cpu"]).Output);
        FtcProcess.Result bf16 = CudaLibrary.Run([.. arguments, "--device", "cuda"]);
        bf16.ExitCode.Should().Be(0, bf16.Error);
        bf16.Output.Trim().Should().NotBeEmpty();
    }

    [Theory]
    [InlineData("fp32", 1e-4)]
    [InlineData("bf16", 0.25)] // logits reach 20 here, where neighbours in bf16 are 0.125 apart
    public void LogitsAreTheCpus(string precision, double tolerance)
    {
        using var temporary = new TemporaryDirectory();
        string requests = temporary.Write("ids.jsonl", "{\"ids\": [1, 403, 407, 261, 378, 31, 5, 300, 17]}\n{\"ids\": [1, 7]}\n");
        string[] arguments = ["inspect", "logits", "--model", Model, "--jsonl", requests];
        FtcProcess.Result cuda = CudaLibrary.Run([.. arguments, "--device", "cuda:0", "--precision", precision]);
        cuda.ExitCode.Should().Be(0, cuda.Error);
        double[][] actual = Logits(cuda.Output), expected = Logits(FtcProcess.Run([.. arguments, "--device", "cpu"]).Output);
        actual.Should().HaveCount(2);
        for (int r = 0; r < 2; r++)
            for (int i = 0; i < expected[r].Length; i++) actual[r][i].Should().BeApproximately(expected[r][i], tolerance, "logit {0} of request {1}", i, r);
    }

    [Fact]
    public void EvaluationIsTheCpus()
    {
        using var run = new CudaRun();
        string[] arguments = ["eval", "--model", run.Model, "--data", run.Data, "--json"];
        FtcProcess.Result cuda = CudaLibrary.Run([.. arguments, "--device", "cuda", "--precision", "fp32"]);
        cuda.ExitCode.Should().Be(0, cuda.Error);
        JsonElement actual = JsonDocument.Parse(cuda.Output).RootElement, expected = JsonDocument.Parse(FtcProcess.Run([.. arguments, "--device", "cpu"]).Output).RootElement;
        actual.GetProperty("loss").GetDouble().Should().BeApproximately(expected.GetProperty("loss").GetDouble(), 1e-4);
        actual.GetProperty("token_accuracy").GetDouble().Should().Be(expected.GetProperty("token_accuracy").GetDouble());
    }

    [Fact]
    public void AQuantisedModelIsTheCpusByteForByte()
    {
        using var temporary = new TemporaryDirectory();
        FtcProcess.Result cuda = CudaLibrary.Run(["quantize", "--model", Model, "--output", temporary.File("cuda"), "--device", "cuda"]);
        cuda.ExitCode.Should().Be(0, cuda.Error);
        FtcProcess.Run("quantize", "--model", Model, "--output", temporary.File("cpu"), "--device", "cpu").ExitCode.Should().Be(0);
        File.ReadAllBytes(temporary.File("cuda/model.safetensors")).Should().Equal(File.ReadAllBytes(temporary.File("cpu/model.safetensors")));
    }

    [Fact]
    public void AMergedModelHasTheLogitsOfBaseAndAdapter()
    {
        using var run = new CudaRun();
        run.Cpu("run", "--method", "lora").ExitCode.Should().Be(0);
        FtcProcess.Result merged = CudaLibrary.Run(["merge", "--model", run.Place("run"), "--output", run.Place("merged"), "--device", "cuda"]);
        merged.ExitCode.Should().Be(0, merged.Error);
        double difference = double.Parse(
            System.Text.RegularExpressions.Regex.Match(merged.Output, "at most ([^ ]+) apart").Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture);
        difference.Should().BeLessThan(1e-4);
    }

    internal static double[][] Logits(string output) =>
        [.. output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement.GetProperty("last_logits").Doubles())];
}
