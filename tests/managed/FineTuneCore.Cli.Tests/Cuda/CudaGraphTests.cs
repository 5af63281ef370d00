using FineTuneCore.Tests;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests.Cuda;

/// <summary>Steps that are recorded once and launched as one are the steps that they were.</summary>
public sealed class CudaGraphTests
{
    [Theory]
    [InlineData("lora", "adapter/adapter_model.safetensors", "--dropout", "0.2", "--packing", "true", "--lora-plus-ratio", "4")]
    [InlineData("qlora", "adapter/adapter_model.safetensors", "--dropout", "0.2", "--packing", "false", "--optimizer", "adamw-8bit", "--clip-norm", "0.5")]
    [InlineData("full", "model/model.safetensors", "--learning-rate", "5e-4", "--optimizer", "sgd", "--activation-checkpointing", "true")]
    public void GraphsChangeNoBit(string method, string result, params string[] more)
    {
        using var run = new CudaRun();
        string[] options = ["--method", method, "--accumulation-steps", "2", "--micro-batch-size", "1", "--sequence-length", "24", .. more];
        FtcProcess.Result with = run.Cuda("with", "bf16", [.. options, "--cuda-graphs", "on"]);
        with.ExitCode.Should().Be(0, with.Error);
        with.Output.Should().Contain("steps run as CUDA graphs").And.MatchRegex("steps ran as [1-9][0-9]* CUDA graphs").And.NotContain("graphs are off");
        FtcProcess.Result without = run.Cuda("without", "bf16", [.. options, "--cuda-graphs", "off"]);
        without.ExitCode.Should().Be(0, without.Error);
        without.Output.Should().NotContain("CUDA graphs");
        run.Losses("with").Should().HaveCount(7, "five steps, validation before and after").And.Equal(run.Losses("without"));
        File.ReadAllBytes(run.Place($"with/{result}")).Should().Equal(File.ReadAllBytes(run.Place($"without/{result}")));
        run.Cpu("cpu", options).ExitCode.Should().Be(0);
        run.LossesAgree("with", "cpu", 0, CudaTrainingTests.Bf16Tolerance);
    }

    [Fact]
    public void GraphsChangeNoBitWherePackedWeightsAreDequantisedFirst()
    {
        using var temporary = new TemporaryDirectory();
        (string, string)[] cache = [("XDG_CACHE_HOME", temporary.Path)];
        CudaLibrary.Run(["tune", "--device", "cuda"], cache).ExitCode.Should().Be(0);
        string kept = temporary.File("finetunecore/tune.json");
        File.WriteAllText(kept, System.Text.RegularExpressions.Regex.Replace(File.ReadAllText(kept), ": [0-9]+", ": 0"));
        using var run = new CudaRun();
        foreach (string graphs in (string[])["on", "off"])
        {
            FtcProcess.Result result = run.Cuda(graphs, "bf16", cache, "--method", "qlora", "--dropout", "0.1", "--cuda-graphs", graphs);
            result.ExitCode.Should().Be(0, result.Error);
            result.Output.Should().Contain("packed up to 0 rows").And.NotContain("graphs are off");
            if (graphs == "on") result.Output.Should().MatchRegex("steps ran as [1-9][0-9]* CUDA graphs");
        }

        run.Losses("on").Should().Equal(run.Losses("off"));
        File.ReadAllBytes(run.Place("on/adapter/adapter_model.safetensors")).Should().Equal(File.ReadAllBytes(run.Place("off/adapter/adapter_model.safetensors")));
    }

    [Fact]
    public void ARunMayGoOnWithoutThem()
    {
        using var run = new CudaRun();
        string[] options = ["--max-steps", "4", "--checkpoint-every", "2", "--dropout", "0.1"];
        run.Cuda("run", "bf16", [.. options, "--cuda-graphs", "on"]).ExitCode.Should().Be(0);
        byte[] expected = File.ReadAllBytes(run.Place("run/adapter/adapter_model.safetensors"));
        Directory.Delete(run.Place("run/checkpoint-4"), recursive: true);
        Directory.Delete(run.Place("run/adapter"), recursive: true);
        FtcProcess.Result resumed = CudaLibrary.Run(["train", "--resume", "--output", run.Place("run"), "--device", "cuda:0", "--cuda-graphs", "off"]);
        resumed.ExitCode.Should().Be(0, resumed.Error);
        File.ReadAllBytes(run.Place("run/adapter/adapter_model.safetensors")).Should().Equal(expected);
    }

    [Fact]
    public void TheCpuRefusesThemByName()
    {
        using var run = new CudaRun();
        BadInput.Failed(run.Cpu("run", "--cuda-graphs", "on"), 2, "--cuda-graphs on", "CPU", "--cuda-graphs auto", "--device cuda");
        run.Cpu("auto", "--cuda-graphs", "auto", "--max-steps", "1").ExitCode.Should().Be(0);
    }
}
