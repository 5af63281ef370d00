using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests;

/// <summary>One run in several processes, on different instruction sets and numbers of threads: the same adapter, byte for byte.</summary>
public sealed class SameBitsTests
{
    [Theory]
    [InlineData("lora")]
    [InlineData("qlora")]
    public void InstructionSetsAndThreadsChangeNoBitOfTheResult(string method)
    {
        using var bad = new BadInput();
        byte[] Adapter(string isa, string threads)
        {
            bad.Output = bad.Place($"{isa}-{threads}");
            FtcProcess.Result result = Train(bad, method, isa, threads);
            result.ExitCode.Should().Be(0, result.Error);
            File.ReadAllText(Path.Combine(bad.Output, "manifest.json")).Should().Contain($"\"{isa}\"", "the forced instruction set must be the one that ran");
            return File.ReadAllBytes(Path.Combine(bad.Output, "adapter", "adapter_model.safetensors"));
        }

        Assert.SkipUnless(System.Runtime.Intrinsics.X86.Avx2.IsSupported && System.Runtime.Intrinsics.X86.Fma.IsSupported, "this CPU lacks AVX2");
        byte[] first = Adapter("avx2", "1");
        Adapter("avx2", "2").Should().Equal(first, "two threads must give the bits of one");
        Assert.SkipUnless(System.Runtime.Intrinsics.X86.Avx512BW.IsSupported, "this CPU lacks AVX-512; AVX2 on 1 and 2 threads was equal");
        Adapter("avx512", "1").Should().Equal(first, "AVX-512 must give the bits of AVX2");
        Adapter("avx512", "2").Should().Equal(first);
    }

    [Fact]
    public void ActivationCheckpointingChangesNoBitOfTheResult()
    {
        using var bad = new BadInput();
        byte[] Adapter(string checkpointing)
        {
            bad.Output = bad.Place(checkpointing);
            bad.Train("--max-steps", "8", "--dropout", "0.1", "--learning-rate", "1e-2", "--activation-checkpointing", checkpointing).ExitCode.Should().Be(0);
            return File.ReadAllBytes(Path.Combine(bad.Output, "adapter", "adapter_model.safetensors"));
        }

        Adapter("true").Should().Equal(Adapter("false"));
    }

    private static FtcProcess.Result Train(BadInput input, string method, string isa, string threads) => FtcProcess.Run(
        [
            "train", "--model", input.Model, "--data", input.Data, "--output", input.Output, "--method", method, "--max-steps", "12", "--rank", "4", "--dropout", "0.1",
            "--learning-rate", "1e-2", "--accumulation-steps", "2", "--micro-batch-size", "2", "--packing", "false", "--early-stopping", "0", "--threads", threads,
        ],
        new Dictionary<string, string> { ["FTC_CPU_ISA"] = isa });
}
