using System.Text.Json;
using FineTuneCore.Adapters;
using FineTuneCore.Models;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Models;

/// <summary>Forward pass and loss against float64 references of a real Llama model.</summary>
public sealed class GoldenLogitsTests
{
    [Fact]
    public void LogitsAndLossEqualTheReference()
    {
        using TinyModel model = TinyModel.Load(TestData.Path("models", "stories260K"));
        using Decoder decoder = model.Decoder(BufferMode.Inference, 512);
        foreach (JsonElement sequence in TestData.Json("models", "stories260K", "golden_logits.json").GetProperty("sequences").EnumerateArray())
        {
            Check(
                decoder, sequence.GetProperty("input_ids").Ints(), sequence.GetProperty("mean_next_token_cross_entropy").GetDouble(),
                sequence.GetProperty("last_position_logits").Doubles());
        }
    }

    [Fact]
    public void Nf4CheckpointEqualsTheReference()
    {
        using TinyModel model = TinyModel.Load(TestData.Path("models", "stories260K", "nf4_golden"));
        model.Weights.Matrices.Count(m => m.Weight.Format == FineTuneCore.Backends.WeightFormat.Nf4).Should().Be(35);
        using Decoder decoder = model.Decoder(BufferMode.Inference, 512);
        Dictionary<string, int[]> ids = TestData.Json("models", "stories260K", "golden_logits.json").GetProperty("sequences").EnumerateArray()
            .ToDictionary(s => s.GetProperty("name").GetString()!, s => s.GetProperty("input_ids").Ints());
        foreach (JsonElement sequence in TestData.Json("models", "stories260K", "nf4_golden", "golden.json").GetProperty("sequences").EnumerateArray())
        {
            Check(
                decoder, ids[sequence.GetProperty("name").GetString()!], sequence.GetProperty("mean_ce_nf4_double_quant").GetDouble(),
                sequence.GetProperty("last_position_logits_nf4_double_quant").Doubles());
        }
    }

    [Fact]
    public void AdapterEqualsTheReference()
    {
        string adapter = TestData.Path("models", "stories260K", "lora_golden");
        using TinyModel model = TinyModel.Load(TestData.Path("models", "stories260K"), new WeightOptions { Lora = PeftConfig.Read(adapter).Options });
        AdapterFiles.Read(adapter, model.Weights);
        using Decoder decoder = model.Decoder(BufferMode.Inference, 512);
        JsonElement expected = TestData.Json("models", "stories260K", "lora_golden", "lora_golden.json").GetProperty("with_final_adapter_on_sequence_1");
        int[] ids = TestData.Json("models", "stories260K", "golden_logits.json").GetProperty("sequences")[1].GetProperty("input_ids").Ints();
        Check(
            decoder, ids, expected.GetProperty("mean_next_token_cross_entropy").GetDouble(),
            expected.GetProperty("last_position_logits").Doubles());
    }

    private static void Check(Decoder decoder, int[] ids, double loss, double[] logits)
    {
        var nll = new float[ids.Length];
        decoder.Evaluate(TinyModel.Batch(ids), nll);
        (nll.Sum(x => (double)x) / (ids.Length - 1)).Should().BeApproximately(loss, 1e-5);
        var actual = new float[logits.Length];
        decoder.LogitsOf(ids.Length - 1, actual);
        for (int i = 0; i < logits.Length; i++) ((double)actual[i]).Should().BeApproximately(logits[i], 1e-4, "logit {0}", i);
    }
}
