using System.Text.Json;
using FineTuneCore.Export;
using FineTuneCore.Files;
using FineTuneCore.Tests.Training;
using FineTuneCore.Training;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Export;

/// <summary>Merged weights against W + s · B A computed here, and merged logits against unmerged.</summary>
public sealed class MergeTests
{
    [Theory]
    [InlineData(FineTuneMethod.Lora, false, "auto")]
    [InlineData(FineTuneMethod.Lora, true, "auto")]
    [InlineData(FineTuneMethod.Lora, false, "bf16")]
    [InlineData(FineTuneMethod.QLora, false, "auto")]
    [InlineData(FineTuneMethod.QLora, true, "auto")]
    public void MergedEqualsUnmerged(FineTuneMethod method, bool rsLora, string type)
    {
        using var run = new StoriesRun();
        (FineTuneResult trained, _) = run.Train("run", o => (o.Method, o.RsLora, o.Alpha, o.ModulesToSave, o.LearningRate) = (method, rsLora, 6, ["norm"], 2e-2));
        MergeReport report = ModelMerger.Merge(run.Place("run"), adapter: null, onto: null, run.Place("merged"), type, threads: 1);
        report.Layers.Should().Be(35);
        report.MaxLogitDifference.Should().BeLessThan(type == "bf16" ? 0.5 : 1e-4).And.BeGreaterThan(type == "bf16" ? 1e-4 : -1);
        double scaling = rsLora ? 6 / 2.0 : 6 / 4.0; // alpha / sqrt(r), alpha / r with r = 4
        // A QLoRA adapter goes onto the dequantised base, which only the logits can say.
        if (method == FineTuneMethod.Lora) Check(run.Place("merged"), TestData.Path("models", "stories260K"), trained.ModelPath, scaling, type == "bf16");
    }

    [Fact]
    public void AQloraAdapterOntoTheWideBaseIsMergedIntoItsOwnWeightsAndTheDriftReported()
    {
        using var run = new StoriesRun();
        string wide = TestData.Path("models", "stories260K");
        (FineTuneResult trained, _) = run.Train("run", o => (o.Method, o.Alpha, o.LearningRate) = (FineTuneMethod.QLora, 6, 2e-2));
        MergeReport report = ModelMerger.Merge(run.Place("run"), adapter: null, onto: wide, run.Place("merged"), "auto", threads: 1);
        Check(run.Place("merged"), wide, trained.ModelPath, scaling: 1.5, bf16: false);
        report.MaxLogitDifference.Should().BeLessThan(1e-4);
        report.Drift!.Value.Max.Should().BeGreaterThan(1e-2, "the errors of four bits are gone, and with them what the adapter was trained on");
        report.Drift.Value.Mean.Should().BeInRange(1e-4, report.Drift.Value.Max);
    }

    [Fact]
    public void AnAdapterIsMergedOntoAnNf4Checkpoint()
    {
        using var run = new StoriesRun();
        ModelQuantizer.Quantize(TestData.Path("models", "stories260K"), run.Place("nf4"), threads: 1);
        run.Train("run", o => (o.Model, o.LearningRate) = (run.Place("nf4"), 2e-2));
        ModelMerger.Merge(run.Place("run"), null, null, run.Place("merged"), "auto", threads: 1).MaxLogitDifference.Should().BeLessThan(1e-4);
        using JsonDocument config = JsonDocument.Parse(File.ReadAllBytes(run.Place("merged/config.json")));
        config.RootElement.TryGetProperty("quantization_config", out _).Should().BeFalse("the merged weights are wide");
    }

    /// <summary>Every tensor of the merged model.</summary>
    private static void Check(string merged, string basePath, string adapterPath, double scaling, bool bf16)
    {
        using TensorFiles result = TensorFiles.Open(Path.Combine(merged, "model.safetensors"));
        using TensorFiles model = TensorFiles.Open(Path.Combine(basePath, "model.safetensors"));
        using TensorFiles adapter = TensorFiles.Open(Path.Combine(adapterPath, "adapter_model.safetensors"));
        result.Names.Should().BeEquivalentTo(model.Names);
        int adapted = 0;
        foreach (string name in model.Names)
        {
            float[] w = Values(model, name), got = Values(result, name);
            string a = $"base_model.model.{name.Replace(".weight", ".lora_A.weight")}", saved = $"base_model.model.{name}";
            if (adapter.Contains(saved)) w = Values(adapter, saved);
            var expected = w.Select(v => (double)v).ToArray();
            if (adapter.Contains(a))
            {
                adapted++;
                float[] A = Values(adapter, a), B = Values(adapter, a.Replace("lora_A", "lora_B"));
                long rank = adapter.Require(a).Shape[0], columns = adapter.Require(a).Shape[1];
                for (int i = 0; i < expected.Length; i++)
                    for (int k = 0; k < rank; k++) expected[i] += scaling * B[i / columns * rank + k] * A[k * columns + i % columns];
            }

            for (int i = 0; i < expected.Length; i++)
            {
                double tolerance = bf16 ? Math.Abs(expected[i]) / 256 + 1e-6 : 1e-5;
                if (!(Math.Abs(got[i] - expected[i]) <= tolerance)) Assert.Fail($"{name}[{i}] is {got[i]}, expected {expected[i]}");
            }
        }

        adapted.Should().Be(35);
    }

    private static float[] Values(TensorFiles files, string name)
    {
        TensorEntry entry = files.Require(name);
        var values = new float[entry.Count];
        FloatConversion.ToF32(values, files.Bytes(name), entry.Type);
        return values;
    }
}
