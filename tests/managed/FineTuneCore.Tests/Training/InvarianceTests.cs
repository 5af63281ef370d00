using FineTuneCore.Adapters;
using FineTuneCore.Backends;
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

    public static TheoryData<string, bool, string> CasesInBoth =>
        [.. Families.SelectMany(f => (bool[])[false, true], (f, full) => (f, full)).SelectMany(c => (string[])["fp32", "bf16"], (c, p) => (c.f, c.full, p))];

    [Theory]
    [MemberData(nameof(CasesInBoth))]
    public void ActivationCheckpointingChangesNoBit(string modelType, bool full, string precision)
    {
        WeightOptions weights = Weights(full) with { Precision = Of(precision) };
        using var kept = new SmallRun(Config(modelType), weights);
        using var recomputed = new SmallRun(Config(modelType), weights, mode: BufferMode.TrainingCheckpointed);
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
    [InlineData(2, false, "fp32")]
    [InlineData(5, false, "fp32")]
    [InlineData(2, false, "bf16")]
    [InlineData(5, false, "bf16")]
    [InlineData(5, true, "bf16")]
    public void ThreadsChangeNoBit(int threads, bool full, string precision)
    {
        WeightOptions weights = Weights(full) with { Precision = Of(precision) };
        using var one = new SmallRun(Config("qwen3"), weights);
        using var many = new SmallRun(Config("qwen3"), weights, threads: threads);
        many.Losses(6).Should().Equal(one.Losses(6));
        many.Trained().Should().Equal(one.Trained());
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Bf16HasTheLossAndTheGradientsOfFp32(string modelType, bool full)
    {
        // One step: later ones of a random model go apart by themselves. The gradients together point where fp32's do.
        foreach (BaseFormat format in full ? (BaseFormat[])[BaseFormat.AsStored] : [BaseFormat.AsStored, BaseFormat.Nf4])
        foreach (bool packing in (bool[])[false, true])
        {
            WeightOptions weights = Weights(full) with { Format = format };
            using var wide = new SmallRun(Config(modelType), weights, packing: packing);
            using var half = new SmallRun(Config(modelType), weights with { Precision = Precision.Bf16 }, packing: packing);
            double expected = wide.Losses(1)[0], actual = half.Losses(1)[0];
            actual.Should().BeApproximately(expected, 0.02 * expected, "{0}, packing {1}", format, packing).And.NotBe(expected, "bf16 must have been computed in bf16");
            float[] a = wide.Gradients(), b = half.Gradients();
            double Dot(float[] x, float[] y) => x.Zip(y, (p, q) => (double)p * q).Sum();
            (Dot(a, b) / Math.Sqrt(Dot(a, a) * Dot(b, b))).Should().BeGreaterThan(0.995, "{0}, packing {1}", format, packing);
            Math.Sqrt(Dot(b, b) / Dot(a, a)).Should().BeApproximately(1, 0.05, "{0}, packing {1}", format, packing);
        }
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

    private static Precision Of(string precision) => precision == "bf16" ? Precision.Bf16 : Precision.Fp32;

    private static WeightOptions Weights(bool full) =>
        full ? new WeightOptions { TrainAll = true } : new WeightOptions { Lora = new LoraOptions { Rank = 4, Dropout = 0.3, ModulesToSave = ["norm"] }, Seed = 77 };

    private static float[] Floats(byte[] bytes) => [.. System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(bytes.AsSpan())];
}
