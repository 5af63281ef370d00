using System.Text.RegularExpressions;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests.Cuda;

/// <summary>Layers streamed from host memory and weights dequantised ahead: same bits as with everything on the device, below a cap.</summary>
public sealed class CudaStreamingTests
{
    private static readonly string[] Common = ["--accumulation-steps", "2", "--eval-every", "2", "--checkpoint-every", "2", "--max-steps", "3", "--dropout", "0.1"];

    [Theory]
    [InlineData("lora", "false", "0", "ordered")]
    [InlineData("lora", "true", "3", "reversed")]
    [InlineData("lora", "true", "4", "random:3")]
    [InlineData("qlora", "false", "1", "random:4")]
    [InlineData("qlora", "true", "0", "reversed", "--target-modules", "q_proj,up_proj", "--modules-to-save", "down_proj,k_proj")]
    public void StreamedLayersGiveTheSameBits(string method, string checkpointing, string resident, string schedule, params string[] more)
    {
        using var run = new CudaRun();
        string[] options = ["--method", method, "--activation-checkpointing", checkpointing, .. Common, .. more];
        Same(run, schedule, [], options, ["--resident-layers", resident]).Should().Contain($"{resident} of 5 layers resident, the others streamed from ");
    }

    /// <summary>With 0 rows multiplied packed, every product of the base reads what was dequantised in the background.</summary>
    [Theory]
    [InlineData("false", "ordered")]
    [InlineData("true", "reversed")]
    [InlineData("true", "random:5", "--target-modules", "q_proj,up_proj", "--modules-to-save", "down_proj,k_proj")]
    public void WeightsDequantisedAheadGiveTheSameBits(string checkpointing, string schedule, params string[] more)
    {
        using var temporary = new TemporaryDirectory();
        Untuned(temporary);
        using var run = new CudaRun();
        string[] options = ["--method", "qlora", "--activation-checkpointing", checkpointing, .. Common, .. more];
        string output = Same(run, schedule, [("XDG_CACHE_HOME", temporary.Path)], options, ["--resident-layers", "1"]);
        output.Should().Contain("packed up to 0 rows").And.Contain("through a ring of 3");
    }

    /// <summary>A base that is NF4 in its files comes from them as it is.</summary>
    [Fact]
    public void AStoredNf4BaseIsStreamed()
    {
        using var run = new CudaRun();
        FtcProcess.Result quantized = FtcProcess.Run("quantize", "--model", run.Model, "--output", run.Place("nf4"), "--device", "cpu");
        quantized.ExitCode.Should().Be(0, quantized.Error);
        string[] options = ["--method", "qlora", "--model", run.Place("nf4"), "--modules-to-save", "down_proj", .. Common];
        Same(run, "random:6", [], options, ["--resident-layers", "1"]).Should().Contain("1 of 5 layers resident");
    }

    /// <summary>Where layers lie changes no number, so a resumed run may place them anew.</summary>
    [Fact]
    public void ARunGoesOnWithOtherLayersResident()
    {
        using var run = new CudaRun();
        string[] options = ["--method", "qlora", "--max-steps", "4", "--checkpoint-every", "2"];
        FtcProcess.Result whole = run.Cuda("run", "bf16", options);
        whole.ExitCode.Should().Be(0, whole.Error);
        byte[] expected = Adapter(run, "run");
        Directory.Delete(run.Place("run/checkpoint-4"), recursive: true);
        Directory.Delete(run.Place("run/adapter"), recursive: true);
        FtcProcess.Result resumed = CudaLibrary.Run(["train", "--resume", "--output", run.Place("run"), "--resident-layers", "2"]);
        resumed.ExitCode.Should().Be(0, resumed.Error);
        resumed.Output.Should().Contain("2 of 5 layers resident");
        Adapter(run, "run").Should().Equal(expected);
    }

    [Fact]
    public void ACapIsKeptByCheckpointingThenStreaming()
    {
        Assert.SkipUnless(CudaLibrary.IsSimulator, "a GPU's driver takes more than this tiny model");
        using var run = new CudaRun();
        string[] options = ["--method", "lora", .. Common];
        run.Cuda("free", "bf16", options).ExitCode.Should().Be(0);
        byte[] expected = Adapter(run, "free");
        var seen = new HashSet<string>();
        for (int vram = 14_300_000; vram > 13_500_000; vram -= 60_000)
        {
            FtcProcess.Result result = run.Cuda($"cap-{vram}", "bf16", [.. options, "--vram", vram.ToString(), "--json"]);
            if (result.ExitCode != 0)
            {
                seen.Add("too small");
                BadInput.Failed(result, 4, "even with activation checkpointing and 5 layers streamed", $"--vram allows {vram / 1e6:F1} MB", "a larger --vram");
                break;
            }

            long used = long.Parse(Regex.Match(result.Output, "\"device_memory_bytes\":([0-9]+)").Groups[1].Value);
            used.Should().BeLessThanOrEqualTo(vram, result.Output);
            Adapter(run, $"cap-{vram}").Should().Equal(expected);
            seen.Add(Regex.Match(result.Output, "[0-9] of 5 layers resident").Value is { Length: > 0 } layers ? layers
                : result.Output.Contains("activation checkpointing, blocks are", StringComparison.Ordinal) ? "checkpointing" : "all");
        }

        seen.Should().Contain(["all", "checkpointing", "1 of 5 layers resident", "0 of 5 layers resident", "too small"]);
    }

    [Fact]
    public void ThereIsNothingToStreamToOnTheCpu()
    {
        using var run = new CudaRun();
        BadInput.Failed(run.Cpu("cpu", "--resident-layers", "2"), 2, "--resident-layers", "nothing to stream to", "--device cuda");
        BadInput.Failed(run.Cpu("cpu", "--vram", "8GB"), 2, "--vram", "--memory-limit");
        BadInput.Failed(run.Cuda("full", "bf16", "--method", "full", "--resident-layers", "2"), 2, "--method full trains every weight");
        BadInput.Failed(run.Cuda("size", "bf16", "--vram", "much"), 2, "vram is 'much'", "a size such as 8GB or 512MiB");
    }

    /// <summary>Shapes alone: nothing of this size is allocated.</summary>
    [Fact]
    public void A70BShapeFits24GigabytesAndA7BShape6()
    {
        using var temporary = new TemporaryDirectory();
        Directory.CreateDirectory(temporary.File("70b"));
        Directory.CreateDirectory(temporary.File("7b"));
        File.WriteAllText(temporary.File("70b/config.json"), Config(8192, 28672, 80, 64, 8, 128256));
        File.WriteAllText(temporary.File("7b/config.json"), Config(4096, 11008, 32, 32, 32, 32000));
        FtcProcess.Result large = CudaLibrary.Run(["inspect", "model", temporary.File("70b"), "--device", "cuda", "--sequence-length", "2048", "--vram", "24GB"]);
        large.ExitCode.Should().Be(0, large.Error);
        Match streamed = Regex.Match(large.Output, "qlora nf4 +([0-9,]+)\\.[0-9] MB: activation checkpointing, .*; ([0-9]+) of 80 layers resident, the others streamed from ([0-9.]+) GB of host memory through a ring of 3");
        streamed.Success.Should().BeTrue(large.Output);
        long.Parse(streamed.Groups[1].Value.Replace(",", "")).Should().BeLessThanOrEqualTo(24_000);
        int.Parse(streamed.Groups[2].Value).Should().BeInRange(15, 30);

        FtcProcess.Result small = CudaLibrary.Run(["inspect", "model", temporary.File("7b"), "--device", "cuda", "--sequence-length", "1024", "--vram", "6GiB"]);
        small.ExitCode.Should().Be(0, small.Error);
        Match resident = Regex.Match(small.Output, "qlora nf4 +([0-9,]+)\\.[0-9] MB: activation checkpointing, blocks are computed again in backward\n");
        resident.Success.Should().BeTrue(small.Output);
        long.Parse(resident.Groups[1].Value.Replace(",", "")).Should().BeLessThanOrEqualTo(5_800, "half a gigabyte more for the context of a real driver stays below 6 GiB");
    }

    /// <summary>Runs with and without more options; all losses and the adapter are the same. Gives the second one's output.</summary>
    private static string Same(CudaRun run, string schedule, (string Name, string Value)[] environment, string[] options, string[] more)
    {
        FtcProcess.Result resident = run.Cuda("resident", "bf16", environment, options);
        resident.ExitCode.Should().Be(0, resident.Error);
        FtcProcess.Result streamed = run.Cuda("streamed", "bf16", [.. environment, ("FTC_SIM_SCHEDULE", schedule)], [.. options, .. more]);
        streamed.ExitCode.Should().Be(0, streamed.Error);
        run.Losses("streamed").Should().Equal(run.Losses("resident"));
        Adapter(run, "streamed").Should().Equal(Adapter(run, "resident"));
        return streamed.Output;
    }

    private static byte[] Adapter(CudaRun run, string name) => File.ReadAllBytes(run.Place($"{name}/adapter/adapter_model.safetensors"));

    /// <summary>A cache that says that no rows are multiplied packed.</summary>
    private static void Untuned(TemporaryDirectory cache)
    {
        CudaLibrary.Run(["tune", "--device", "cuda"], ("XDG_CACHE_HOME", cache.Path)).ExitCode.Should().Be(0);
        string kept = cache.File("finetunecore/tune.json");
        File.WriteAllText(kept, Regex.Replace(File.ReadAllText(kept), ": [0-9]+", ": 0"));
    }

    private static string Config(int hidden, int intermediate, int layers, int heads, int keyValueHeads, int vocabulary) =>
        $$"""
        {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": {{hidden}}, "intermediate_size": {{intermediate}}, "num_hidden_layers": {{layers}},
         "num_attention_heads": {{heads}}, "num_key_value_heads": {{keyValueHeads}}, "vocab_size": {{vocabulary}}, "max_position_embeddings": 4096,
         "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "hidden_act": "silu"}
        """;
}
