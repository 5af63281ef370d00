using FineTuneCore.Export;
using FineTuneCore.Files;
using FineTuneCore.Tests.Models;
using FineTuneCore.Tests.Training;
using FineTuneCore.Training;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Export;

/// <summary>Every family through training, merging and quantising: sharded bf16, biases, q and k norms, untied heads.</summary>
public sealed class FamilyTests
{
    private static readonly string[] Families = ["llama", "mistral", "qwen2", "qwen3"];

    public static TheoryData<string> All => [.. Families];

    [Theory]
    [MemberData(nameof(All))]
    public void AnAdapterMergesIntoTheLogitsItMade(string modelType)
    {
        using var run = new StoriesRun();
        using RandomCheckpoint model = Checkpoint(modelType);
        foreach (FineTuneMethod method in (FineTuneMethod[])[FineTuneMethod.Lora, FineTuneMethod.QLora])
        {
            string name = method.ToString();
            run.Train(name, o => (o.Model, o.Method, o.LearningRate, o.ModulesToSave) = (model.Directory, method, 2e-2, ["norm", "lm_head"]));
            MergeReport report = ModelMerger.Merge(run.Place(name), null, null, run.Place($"{name}-merged"), "f32", threads: 1);
            report.MaxLogitDifference.Should().BeLessThan(1e-4, name);
            using TensorFiles merged = TensorFiles.Open(Path.Combine(run.Place($"{name}-merged"), "model.safetensors"));
            merged.Names.Should().BeEquivalentTo(model.Values.Keys);
        }
    }

    [Theory]
    [MemberData(nameof(All))]
    public void FullFineTuningWritesEveryTensorInItsTypeAndShape(string modelType)
    {
        using var run = new StoriesRun();
        using RandomCheckpoint model = Checkpoint(modelType);
        (FineTuneResult result, _) = run.Train("full", o => (o.Model, o.Method, o.LearningRate) = (model.Directory, FineTuneMethod.Full, 1e-2));
        using TensorFiles tuned = TensorFiles.Open(Path.Combine(result.ModelPath, "model.safetensors"));
        tuned.Names.Should().BeEquivalentTo(model.Values.Keys);
        foreach ((string name, float[] before) in model.Values)
        {
            TensorEntry entry = tuned.Require(name);
            (entry.Type, entry.Count).Should().Be((ElementType.BF16, before.Length), name);
            var after = new float[before.Length];
            FloatConversion.ToF32(after, tuned.Bytes(name), entry.Type);
            after.Should().NotEqual(before, "{0} is trained", name);
            after.Should().OnlyContain(v => float.IsFinite(v));
        }
    }

    [Theory]
    [MemberData(nameof(All))]
    public void QloraOnAQuantisedCheckpointIsQloraOnTheWideOne(string modelType)
    {
        using var run = new StoriesRun();
        using RandomCheckpoint model = Checkpoint(modelType);
        QuantizeReport report = ModelQuantizer.Quantize(model.Directory, run.Place("nf4"), threads: 1);
        report.Layers.Should().Be(14);
        (FineTuneResult onTheFly, _) = run.Train("fly", o => (o.Model, o.Method) = (model.Directory, FineTuneMethod.QLora));
        (FineTuneResult stored, _) = run.Train("stored", o => (o.Model, o.Method) = (run.Place("nf4"), FineTuneMethod.QLora));
        File.ReadAllBytes(Path.Combine(stored.ModelPath, "adapter_model.safetensors"))
            .Should().Equal(File.ReadAllBytes(Path.Combine(onTheFly.ModelPath, "adapter_model.safetensors")));
    }

    private static RandomCheckpoint Checkpoint(string modelType)
    {
        var model = new RandomCheckpoint(
            RandomCheckpoint.Llama(
                ("model_type", modelType), ("head_dim", 16), ("vocab_size", 512), ("max_position_embeddings", 96), ("attention_bias", modelType is "llama"), ("mlp_bias", true),
                ("sliding_window", 9), ("use_sliding_window", true), ("max_window_layers", 1), ("intermediate_size", 86)),
            ElementType.BF16, shards: 3);
        foreach (string file in (string[])["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
            File.Copy(TestData.Path("models", "stories260K", file), Path.Combine(model.Directory, file));
        return model;
    }
}
