using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests.Cuda;

/// <summary>Five steps of training on CUDA (on the simulator where there is no GPU) against the CPU library's.</summary>
public sealed class CudaTrainingTests
{
    private const double Fp32Tolerance = 1e-4;

    /// <summary>
    /// bf16 keeps 8 bits: an activation is off by up to 2^-9, and the loss of this model (4.5 before training) averages dozens of them.
    /// Two percent is a handful of such errors in one direction; a wrong kernel is off by far more.
    /// </summary>
    internal const double Bf16Tolerance = 2e-2;

    [Theory]
    [InlineData("lora")]
    [InlineData("lora", "--dropout", "0.2", "--activation-checkpointing", "true")]
    [InlineData("lora", "--target-modules", "q_proj,up_proj", "--modules-to-save", "embed_tokens,norm")]
    [InlineData("qlora")]
    [InlineData("full", "--learning-rate", "5e-4")]
    public void LossesAreTheCpus(string method, params string[] more)
    {
        using var run = new CudaRun();
        string[] options = ["--method", method, .. more];
        FtcProcess.Result fp32 = run.Cuda("fp32", "fp32", options);
        fp32.ExitCode.Should().Be(0, fp32.Error);
        fp32.Output.Should().Contain("device  cuda:0 ").And.Contain("fp32");
        FtcProcess.Result bf16 = run.Cuda("bf16", "bf16", options);
        bf16.ExitCode.Should().Be(0, bf16.Error);
        FtcProcess.Result cpu = run.Cpu("cpu", options);
        cpu.ExitCode.Should().Be(0, cpu.Error);
        run.Losses("cpu").Should().HaveCount(7, "five steps, validation before and after");
        run.LossesAgree("fp32", "cpu", Fp32Tolerance, 0);
        run.LossesAgree("bf16", "cpu", 0, Bf16Tolerance);
        run.Losses("bf16").Should().NotEqual(run.Losses("fp32"), "bf16 must have been computed in bf16");
    }

    [Fact]
    public void AMeasurementIsKeptForTheNextProcess()
    {
        using var temporary = new TemporaryDirectory();
        FtcProcess.Result tuned = CudaLibrary.Run(["tune", "--device", "cuda"], ("XDG_CACHE_HOME", temporary.Path));
        tuned.ExitCode.Should().Be(0, tuned.Error);
        string kept = temporary.File("finetunecore/tune.json");
        tuned.Output.Should().MatchRegex("cuda:0 .*: NF4 weights are multiplied packed up to [0-9]+ rows").And.Contain(kept);
        File.WriteAllText(kept, System.Text.RegularExpressions.Regex.Replace(File.ReadAllText(kept), ": [0-9]+", ": 0"));
        using var run = new CudaRun();
        // 0 rows: every product goes through dequantised weights, which the first measurement's many rows keep short ones from.
        run.Cuda("run", "bf16", [("XDG_CACHE_HOME", temporary.Path)], "--method", "qlora").Output.Should().Contain("packed up to 0 rows");
        run.Cpu("cpu", "--method", "qlora").ExitCode.Should().Be(0);
        run.LossesAgree("run", "cpu", 0, Bf16Tolerance);
        File.ReadAllText(run.Place("run/manifest.json")).Should().Contain("\"packed_rows\": 0");
        FtcProcess.Run("tune", "--device", "cpu").Output.Should().Contain("nothing to measure");
    }

    [Fact]
    public void TheOrderOfThreadsChangesNoBit()
    {
        Assert.SkipUnless(CudaLibrary.IsSimulator, "only the simulator's schedule can be chosen");
        using var run = new CudaRun();
        byte[] Adapter(string schedule)
        {
            FtcProcess.Result result = run.Cuda(schedule, "bf16", [("FTC_SIM_SCHEDULE", schedule)], "--max-steps", "2", "--dropout", "0.1");
            result.ExitCode.Should().Be(0, result.Error);
            return File.ReadAllBytes(run.Place($"{schedule}/adapter/adapter_model.safetensors"));
        }

        byte[] ordered = Adapter("ordered");
        Adapter("reversed").Should().Equal(ordered);
        Adapter("random:7").Should().Equal(ordered);
    }

    [Theory]
    [InlineData("lora", "adapter/adapter_model.safetensors")]
    [InlineData("full", "model/model.safetensors")]
    public void AResumedRunEndsWithTheSameBits(string method, string result)
    {
        using var run = new CudaRun();
        string[] options = ["--method", method, "--max-steps", "4", "--checkpoint-every", "2", "--dropout", method == "lora" ? "0.1" : "0"];
        FtcProcess.Result whole = run.Cuda("run", "auto", options);
        whole.ExitCode.Should().Be(0, whole.Error);
        whole.Output.Should().Contain("precision bf16: CUDA's");
        byte[] expected = File.ReadAllBytes(run.Place($"run/{result}"));
        Directory.Delete(run.Place("run/checkpoint-4"), recursive: true);
        Directory.Delete(Path.GetDirectoryName(run.Place($"run/{result}"))!, recursive: true);
        FtcProcess.Result resumed = CudaLibrary.Run(["train", "--resume", "--output", run.Place("run"), "--device", "cuda:0"]);
        resumed.ExitCode.Should().Be(0, resumed.Error);
        resumed.Output.Should().Contain("resumed from");
        File.ReadAllBytes(run.Place($"run/{result}")).Should().Equal(expected);
    }

    [Fact]
    public void ARunOfBf16DoesNotGoOnInFp32()
    {
        using var run = new CudaRun();
        run.Cuda("run", "bf16", "--max-steps", "1").ExitCode.Should().Be(0);
        BadInput.Failed(
            CudaLibrary.Run(["train", "--resume", "--output", run.Place("run"), "--device", "cuda:0", "--precision", "fp32"]), 2, "precision was bf16 and is fp32");
    }
}
