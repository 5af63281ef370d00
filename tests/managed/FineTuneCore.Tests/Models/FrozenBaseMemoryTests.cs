using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Models;

/// <summary>What a frozen base takes in memory.</summary>
public sealed class FrozenBaseMemoryTests
{
    [Theory]
    [InlineData("fp32", "BF16")]
    [InlineData("bf16", "BF16")]
    [InlineData("fp32", "F32")]
    public void AWideBaseStaysInTheMappedFile(string precision, string stored)
    {
        TestDevice.CpuOnly("a GPU has memory of its own");
        using var checkpoint = new RandomCheckpoint(
            RandomCheckpoint.Llama(("hidden_size", 256), ("intermediate_size", 688), ("vocab_size", 300)), Enum.Parse<ElementType>(stored));
        var options = new WeightOptions { Precision = precision == "bf16" ? Precision.Bf16 : Precision.Fp32, Lora = new LoraOptions { Rank = 8 } };
        using TinyModel model = TinyModel.Load(checkpoint.Directory, options);
        model.Weights.Matrices.Should().OnlyContain(m => m.Weight.Format == Enum.Parse<WeightFormat>(stored));
        long norms = 5 * 256 * 4, adapter = model.Weights.Parameters.FlatCount * 4;
        model.Backend.Info.MemoryUsedBytes.Should().BeLessThanOrEqualTo(norms + adapter + 64 * 8, "no matrix is converted or copied");
    }

    [Fact]
    public void Bf16HalvesABaseOfFp32()
    {
        TestDevice.CpuOnly("a GPU holds it in either type");
        using var checkpoint = new RandomCheckpoint(RandomCheckpoint.Llama(("hidden_size", 256), ("intermediate_size", 688), ("vocab_size", 300)));
        using TinyModel model = TinyModel.Load(checkpoint.Directory, new WeightOptions { Precision = Precision.Bf16, Lora = new LoraOptions { Rank = 8 } });
        long weights = model.Weights.Matrices.Sum(m => m.Module.Rows * m.Module.Columns), norms = 5 * 256 * 4, adapter = model.Weights.Parameters.FlatCount * 4;
        model.Backend.Info.MemoryUsedBytes.Should().BeInRange(2 * weights, 2 * weights + norms + adapter + 64 * 32);
    }

    [Fact]
    public void QuantisedLinearsTakeAtMost052BytesAWeightAndOnlyEmbeddingHeadAndNormsStayWide()
    {
        TestDevice.CpuOnly("on a GPU the wide weights are counted too");
        using var checkpoint = new RandomCheckpoint(
            RandomCheckpoint.Llama(("hidden_size", 256), ("intermediate_size", 688), ("vocab_size", 300)), ElementType.BF16);
        using TinyModel model = TinyModel.Load(checkpoint.Directory, new WeightOptions { Format = BaseFormat.Nf4, Lora = new LoraOptions { Rank = 8 } });
        (ModuleSpec Module, WeightMatrix Weight)[] quantised = [.. model.Weights.Matrices.Where(m => m.Weight.Format == WeightFormat.Nf4)];
        long weights = quantised.Sum(m => m.Module.Rows * m.Module.Columns), bytes = quantised.Sum(m => m.Weight.ByteCount);
        quantised.Should().HaveCount(14).And.OnlyContain(m => m.Module.Kind == WeightKind.Linear);
        ((double)bytes / weights).Should().BeLessThanOrEqualTo(0.52);
        model.Weights.Matrices.Where(m => m.Weight.Format != WeightFormat.Nf4).Select(m => m.Module.Name).Should().BeEquivalentTo("model.embed_tokens", "lm_head");

        // What the library counts: the codes, the maps that all share, norms, the adapter; wide matrices stay in the mapped file.
        long maps = (16 + 256) * 4, norms = 5 * 256 * 4, adapter = model.Weights.Parameters.FlatCount * 4;
        long buffers = 3 * quantised.Length + 8, rounding = 64 * buffers;
        model.Backend.Info.MemoryUsedBytes.Should().BeInRange(bytes, (long)(0.52 * weights) + maps + norms + adapter + rounding, "no dequantised matrix may stay");
    }
}
