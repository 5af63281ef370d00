using FineTuneCore.Adapters;
using FineTuneCore.Models;
using FineTuneCore.Tests.Models;
using FineTuneCore.Training;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Training;

/// <summary>How samples are put into batches, and how much is kept for backward, changes time and memory, not the training.</summary>
public sealed class InvarianceTests
{
    private static readonly string[] Families = ["llama", "mistral", "qwen2", "qwen3"];

    public static TheoryData<string, bool> Cases => [.. Families.SelectMany(f => (bool[])[false, true], (f, full) => (f, full))];

    [Theory]
    [MemberData(nameof(Cases))]
    public void MicroBatchesPackingAndAccumulationGiveTheSameLossesAndGradients(string modelType, bool full)
    {
        // One step is the whole epoch, cut differently. Dropout is on: its bits belong to sample and position.
        (double Loss, float[] Gradients) Epoch(int microBatch, int accumulation, bool packing)
        {
            var options = new FineTuneOptions { MicroBatchSize = microBatch, AccumulationSteps = accumulation, LearningRate = 1e-2, ClipNorm = 0 };
            using var run = new SmallRun(Config(modelType), Weights(full), options, packing);
            run.Batches.StepsPerEpoch.Should().Be(1);
            double loss = run.Loop.Run(0, 0).Loss;
            return (loss, run.Gradients());
        }

        (double loss, float[] gradients) = Epoch(24, 1, packing: false);
        gradients.Should().Contain(g => g != 0);
        float largest = gradients.Max(Math.Abs);
        foreach ((int microBatch, int accumulation, bool packing) in ((int, int, bool)[])[(1, 24, false), (5, 5, false), (24, 1, true), (1, 24, true), (3, 8, true)])
        {
            (double other, float[] others) = Epoch(microBatch, accumulation, packing);
            other.Should().BeApproximately(loss, 1e-5, "micro-batches of {0}, {1} a step, packing {2}", microBatch, accumulation, packing);
            for (int i = 0; i < gradients.Length; i++)
                if (!(Math.Abs(others[i] - gradients[i]) <= 1e-5 * Math.Max(1, largest))) Assert.Fail($"gradient {i}: {others[i]} and {gradients[i]} ({microBatch} x {accumulation}, packing {packing})");
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void ActivationCheckpointingChangesNoBit(string modelType, bool full)
    {
        using var kept = new SmallRun(Config(modelType), Weights(full));
        using var recomputed = new SmallRun(Config(modelType), Weights(full), mode: BufferMode.TrainingCheckpointed);
        recomputed.Losses(6).Should().Equal(kept.Losses(6));
        recomputed.Trained().Should().Equal(kept.Trained());
    }

    [Fact]
    public void LayersOfDifferentRanksShareBuffersWhereBlocksAreRecomputed()
    {
        // The first layer has no adapter on o_proj and a small one on q_proj; its buffers serve the second layer too.
        var lora = new LoraOptions
        {
            Rank = 2, RankPattern = new Dictionary<string, int> { [@"layers\.1\.self_attn\.q_proj"] = 12 }, TargetModules = [@".*(q_proj|up_proj)|.*1\.self_attn\.o_proj"],
            TargetIsRegex = true,
        };
        using var kept = new SmallRun(Config("llama"), new WeightOptions { Lora = lora });
        using var recomputed = new SmallRun(Config("llama"), new WeightOptions { Lora = lora }, mode: BufferMode.TrainingCheckpointed);
        recomputed.Losses(6).Should().Equal(kept.Losses(6));
        recomputed.Trained().Should().Equal(kept.Trained());
    }

    [Theory]
    [InlineData(2)]
    [InlineData(5)]
    public void ThreadsChangeNoBit(int threads)
    {
        using var one = new SmallRun(Config("qwen3"), Weights(full: false));
        using var many = new SmallRun(Config("qwen3"), Weights(full: false), threads: threads);
        many.Losses(6).Should().Equal(one.Losses(6));
        many.Trained().Should().Equal(one.Trained());
    }

    [Fact]
    public void DropoutDropsInTrainingOnlyAndByStep()
    {
        using var with = new SmallRun(Config("llama"), Weights(full: false));
        using var without = new SmallRun(Config("llama"), Weights(full: false) with { Lora = new LoraOptions { Rank = 4 } });
        double[] a = with.Losses(4), b = without.Losses(4);
        a[0].Should().Be(b[0], "B starts at zero, so the first loss has no adapter in it");
        a[1..].Should().NotEqual(b[1..]);
    }

    [Fact]
    public void LoraPlusScalesTheUpdateOfB()
    {
        // SGD without momentum: the first update of B is the gradient times the rate times the ratio.
        var options = new FineTuneOptions { MicroBatchSize = 2, LearningRate = 1e-3, Optimizer = OptimizerKind.Sgd, Beta1 = 0, ClipNorm = 0 };
        using var plain = new SmallRun(Config("llama"), Weights(full: false), options);
        using var plus = new SmallRun(Config("llama"), Weights(full: false) with { LoraPlusRatio = 16 }, options);
        plain.Loop.Run(0, 0);
        plus.Loop.Run(0, 0);
        foreach (Parameter p in plain.Weights.Parameters.Parameters)
        {
            Parameter q = plus.Weights.Parameters.Find(p.Name)!;
            float[] small = Floats(AdapterFiles.Bytes(plain.Weights, p)), large = Floats(AdapterFiles.Bytes(plus.Weights, q));
            float ratio = p.Name.Contains(".lora_B.") ? 16 : 1;
            for (int i = 0; i < small.Length; i++) large[i].Should().BeApproximately(small[i] * ratio, 1e-6f * Math.Max(1e-3f, Math.Abs(large[i])), "{0}[{1}]", p.Name, i);
        }
    }

    [Theory]
    [InlineData(OptimizerKind.AdamW)]
    [InlineData(OptimizerKind.AdamW8Bit)]
    [InlineData(OptimizerKind.Sgd)]
    public void LossFallsOverTheSameData(OptimizerKind optimizer)
    {
        var options = new FineTuneOptions { MicroBatchSize = 24, LearningRate = optimizer == OptimizerKind.Sgd ? 0.5 : 2e-2, Optimizer = optimizer };
        using var run = new SmallRun(Config("qwen2"), Weights(full: false) with { Lora = new LoraOptions { Rank = 8 } }, options);
        double[] losses = run.Losses(40);
        losses[^1].Should().BeLessThan(losses[0] - 0.3);
    }

    private static string Config(string modelType) =>
        RandomCheckpoint.Llama(("model_type", modelType), ("head_dim", 12), ("sliding_window", 6), ("use_sliding_window", true), ("max_window_layers", 1), ("vocab_size", 31));

    private static WeightOptions Weights(bool full) =>
        full ? new WeightOptions { TrainAll = true } : new WeightOptions { Lora = new LoraOptions { Rank = 4, Dropout = 0.3, ModulesToSave = ["norm"] }, Seed = 77 };

    private static float[] Floats(byte[] bytes) => [.. System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(bytes.AsSpan())];
}
