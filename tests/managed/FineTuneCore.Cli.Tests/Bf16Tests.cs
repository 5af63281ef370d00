using System.Text.Json;
using FineTuneCore.Cli.Tests.Cuda;
using FineTuneCore.Tests;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests;

/// <summary>--precision bf16 on the CPU: what CUDA's bf16 is held to, and bits that nothing but the numbers decide.</summary>
public sealed class Bf16Tests
{
    [Theory]
    [InlineData("lora")]
    [InlineData("lora", "--dropout", "0.2", "--activation-checkpointing", "true")]
    [InlineData("lora", "--target-modules", "q_proj,up_proj", "--modules-to-save", "embed_tokens,norm")]
    [InlineData("lora", "--packing", "true")]
    [InlineData("qlora")]
    [InlineData("full", "--learning-rate", "5e-4")]
    public void LossesAreThoseOfFp32(string method, params string[] more)
    {
        using var run = new CudaRun();
        string[] options = ["--method", method, .. more];
        FtcProcess.Result bf16 = run.Cpu("bf16", [.. options, "--precision", "bf16"]);
        bf16.ExitCode.Should().Be(0, bf16.Error);
        bf16.Output.Should().Contain(", bf16, ");
        FtcProcess.Result fp32 = run.Cpu("fp32", options);
        fp32.ExitCode.Should().Be(0, fp32.Error);
        fp32.Output.Should().Contain("precision fp32: the CPU's; --precision bf16 ");
        run.LossesAgree("bf16", "fp32", 0, CudaTrainingTests.Bf16Tolerance);
        run.Losses("bf16").Should().NotEqual(run.Losses("fp32"), "bf16 must have been computed in bf16");
    }

    /// <summary>The short form of <c>./build.sh bench convergence</c>, which takes 300 steps and more seeds.</summary>
    [Fact]
    public void ValidationLossesOfARealTrainingEndWithinAPercent()
    {
        using var run = new CudaRun();
        string quickstart = Path.Combine(AppContext.BaseDirectory, "Quickstart");
        double Loss(string precision)
        {
            FtcProcess.Result result = FtcProcess.Run(
                "train", "--model", Path.Combine(quickstart, "tiny-base"), "--data", Path.Combine(quickstart, "data", "support_chats.jsonl"), "--validation-data",
                Path.Combine(quickstart, "data", "support_chats_heldout.jsonl"), "--output", run.Place(precision), "--device", "cpu", "--precision", precision,
                "--max-steps", "40", "--eval-every", "40", "--early-stopping", "0", "--sequence-length", "256", "--micro-batch-size", "1", "--learning-rate", "1e-3");
            result.ExitCode.Should().Be(0, result.Error);
            return run.Losses(precision)[^1].Loss;
        }

        double fp32 = Loss("fp32");
        fp32.Should().BeLessThan(4, "it begins at 5.4");
        Loss("bf16").Should().BeApproximately(fp32, 0.01 * fp32);
    }

    [Theory]
    [InlineData("lora", "adapter/adapter_model.safetensors")]
    [InlineData("qlora", "adapter/adapter_model.safetensors")]
    [InlineData("full", "model/model.safetensors")]
    public void ThreadsAndResumingChangeNoBit(string method, string result)
    {
        using var run = new CudaRun();
        string[] options =
            ["--method", method, "--max-steps", "4", "--checkpoint-every", "2", "--dropout", method == "full" ? "0" : "0.1", "--precision", "bf16"];
        FtcProcess.Result whole = run.Cpu("run", [.. options, "--threads", "1"]);
        whole.ExitCode.Should().Be(0, whole.Error);
        byte[] expected = File.ReadAllBytes(run.Place($"run/{result}"));
        run.Cpu("threads", [.. options, "--threads", "3"]).ExitCode.Should().Be(0);
        File.ReadAllBytes(run.Place($"threads/{result}")).Should().Equal(expected, "three threads must give the bits of one");
        Directory.Delete(run.Place("run/checkpoint-4"), recursive: true);
        Directory.Delete(Path.GetDirectoryName(run.Place($"run/{result}"))!, recursive: true);
        FtcProcess.Result resumed = FtcProcess.Run("train", "--resume", "--output", run.Place("run"), "--device", "cpu");
        resumed.ExitCode.Should().Be(0, resumed.Error);
        resumed.Output.Should().Contain("resumed from").And.Contain(", bf16, ");
        File.ReadAllBytes(run.Place($"run/{result}")).Should().Equal(expected);
        BadInput.Failed(
            FtcProcess.Run("train", "--resume", "--output", run.Place("run"), "--device", "cpu", "--precision", "fp32"), 2, "precision was bf16 and is fp32");
    }

    [Fact]
    public void LogitsTextAndScoresAreThoseOfFp32()
    {
        using var run = new CudaRun();
        string requests = run.Place("ids.jsonl");
        File.WriteAllText(requests, "{\"ids\": [1, 403, 407, 261, 378, 31, 5, 300, 17]}\n{\"ids\": [1, 7]}\n");
        FtcProcess.Result Bf16(params string[] arguments)
        {
            FtcProcess.Result result = FtcProcess.Run([.. arguments, "--device", "cpu", "--precision", "bf16"]);
            result.ExitCode.Should().Be(0, result.Error);
            return result;
        }

        string[] inspect = ["inspect", "logits", "--model", run.Model, "--jsonl", requests];
        double[][] logits = CudaInferenceTests.Logits(Bf16(inspect).Output), expected = CudaInferenceTests.Logits(FtcProcess.Run([.. inspect, "--device", "cpu"]).Output);
        for (int r = 0; r < 2; r++) // logits reach 20 here, where neighbours in bf16 are 0.125 apart
            for (int i = 0; i < expected[r].Length; i++) logits[r][i].Should().BeApproximately(expected[r][i], 0.25, "logit {0} of request {1}", i, r);

        string[] generate = ["generate", "--model", run.Model, "--prompt", "Once upon a time", "--max-tokens", "12"];
        Bf16(generate).Output.Should().Be(FtcProcess.Run([.. generate, "--device", "cpu"]).Output, "these choices are clear");

        string[] eval = ["eval", "--model", run.Model, "--data", run.Data, "--json"];
        double Loss(FtcProcess.Result result) => JsonDocument.Parse(result.Output).RootElement.GetProperty("loss").GetDouble();
        double loss = Loss(FtcProcess.Run([.. eval, "--device", "cpu"]));
        Loss(Bf16(eval)).Should().BeApproximately(loss, CudaTrainingTests.Bf16Tolerance * loss);
    }

    [Fact]
    public void PlansOfBf16TakeLess()
    {
        using var run = new CudaRun();
        string[] arguments = ["inspect", "model", run.Model, "--sequence-length", "256", "--device", "cpu"];
        FtcProcess.Run([.. arguments, "--precision", "bf16"]).Output.Should().Contain("memory to train on cpu in bf16").And.Contain("full bf16");
        FtcProcess.Run(arguments).Output.Should().Contain("memory to train on cpu in fp32").And.Contain("full fp32");
        FtcProcess.Run("doctor").Output.Should().MatchRegex("precision +fp32; --precision bf16 .*halves the memory of activations");
    }
}
