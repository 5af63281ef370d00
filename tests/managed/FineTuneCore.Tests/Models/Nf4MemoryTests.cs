using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Models;

/// <summary>What QLoRA keeps in memory.</summary>
public sealed class Nf4MemoryTests
{
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
