using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests.Cuda;

/// <summary>Optimisers on CUDA: where their state lies, and in how many bits.</summary>
public sealed class CudaOptimizerTests
{
    [Theory]
    [InlineData("paged-adamw", "adamw", "on")]
    [InlineData("paged_adamw_8bit", "adamw-8bit", "off")]
    public void AStateInHostMemoryChangesNoBit(string paged, string resident, string graphs)
    {
        using var run = new CudaRun();
        string[] options = ["--max-steps", "4", "--checkpoint-every", "2", "--modules-to-save", "norm", "--cuda-graphs", graphs];
        foreach (string optimizer in (string[])[paged, resident])
        {
            FtcProcess.Result result = run.Cuda(optimizer, "bf16", [.. options, "--optimizer", optimizer]);
            result.ExitCode.Should().Be(0, result.Error);
            if (optimizer == paged) result.Output.Should().MatchRegex("optimiser's state in [0-9.]+ MB of host memory");
            else result.Output.Should().NotContain("of host memory");
        }

        byte[] expected = Adapter(resident);
        Adapter(paged).Should().Equal(expected);
        File.ReadAllBytes(run.Place($"{paged}/checkpoint-4/optimizer.safetensors"))
            .Should().Equal(File.ReadAllBytes(run.Place($"{resident}/checkpoint-4/optimizer.safetensors")));

        // And it comes back from a checkpoint.
        Directory.Delete(run.Place($"{paged}/checkpoint-4"), recursive: true);
        Directory.Delete(run.Place($"{paged}/adapter"), recursive: true);
        FtcProcess.Result resumed = CudaLibrary.Run(["train", "--resume", "--output", run.Place(paged), "--device", "cuda:0"]);
        resumed.ExitCode.Should().Be(0, resumed.Error);
        Adapter(paged).Should().Equal(expected);

        byte[] Adapter(string name) => File.ReadAllBytes(run.Place($"{name}/adapter/adapter_model.safetensors"));
    }

    [Fact]
    public void EightBitsTrainAsTheCpus()
    {
        using var run = new CudaRun();
        string[] options = ["--optimizer", "adamw-8bit", "--learning-rate", "1e-3"];
        run.Cuda("cuda", "fp32", options).ExitCode.Should().Be(0);
        run.Cpu("cpu", options).ExitCode.Should().Be(0);
        run.LossesAgree("cuda", "cpu", 1e-3, 0);
    }
}
