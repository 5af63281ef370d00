using System.Diagnostics;
using System.Runtime.InteropServices;
using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Models;
using FineTuneCore.Tests.Models;
using FineTuneCore.Training;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Training;

/// <summary>After the first step, a step allocates nothing, managed or native.</summary>
[Collection("alone")] // the heap of the process is watched
public sealed partial class SteadyStateTests
{
    private const int Steps = 20;

    [Theory]
    [InlineData("llama", "lora", OptimizerKind.AdamW)]
    [InlineData("llama", "qlora", OptimizerKind.AdamW)]
    [InlineData("llama", "lora", OptimizerKind.AdamW8Bit)]
    [InlineData("llama", "full", OptimizerKind.Sgd)]
    [InlineData("qwen3", "full", OptimizerKind.AdamW)]
    [InlineData("qwen2", "lora checkpointed", OptimizerKind.Sgd)]
    [InlineData("mistral", "lora packed", OptimizerKind.AdamW)]
    [InlineData("llama", "lora", OptimizerKind.AdamW, "bf16")]
    [InlineData("qwen3", "qlora", OptimizerKind.AdamW, "bf16")]
    [InlineData("qwen2", "full", OptimizerKind.AdamW, "bf16")]
    [InlineData("mistral", "lora checkpointed", OptimizerKind.Sgd, "bf16")]
    public void AStepAllocatesNothing(string modelType, string method, OptimizerKind optimizer, string precision = "fp32")
    {
        TestDevice.CpuOnly("the heap is watched for what the CPU library keeps; a driver has one of its own");
        string config = RandomCheckpoint.Llama(("model_type", modelType), ("head_dim", 12), ("sliding_window", 6), ("intermediate_size", 96));
        var options = new FineTuneOptions { MicroBatchSize = 2, AccumulationSteps = 2, LearningRate = 1e-3, Optimizer = optimizer };
        using var run = new SmallRun(
            config,
            new WeightOptions
            {
                Precision = precision == "bf16" ? Precision.Bf16 : Precision.Fp32, TrainAll = method == "full", Format = method == "qlora" ? BaseFormat.Nf4 : BaseFormat.AsStored,
                Lora = method == "full" ? null : new LoraOptions { Rank = 4, Dropout = 0.1 },
            },
            options, packing: method.EndsWith("packed", StringComparison.Ordinal),
            method.EndsWith("checkpointed", StringComparison.Ordinal) ? BufferMode.TrainingCheckpointed : BufferMode.Training, threads: 2);
        // Two epochs: every length of row was seen, and the shuffle of an epoch is part of what follows.
        int step = 0;
        while (step < 2 * run.Batches.StepsPerEpoch) run.Loop.Run(step, step++);

        // The runtime's own threads (tiered compilation above all) use the same heap for a while: a window without them is
        // waited for, as long as it takes within reason. What a step keeps shows in every window.
        long native = run.NativeBytes, smallestHeapGrowth = long.MaxValue;
        for (var patience = Stopwatch.StartNew(); smallestHeapGrowth != 0 && patience.Elapsed < TimeSpan.FromSeconds(30);)
        {
            long heap = HeapBytes(), before = GC.GetAllocatedBytesForCurrentThread();
            for (int end = step + Steps; step < end; step++) run.Loop.Run(step, step);
            (GC.GetAllocatedBytesForCurrentThread() - before).Should().Be(0, "{0} steps must not allocate managed memory", Steps);
            smallestHeapGrowth = Math.Min(smallestHeapGrowth, Math.Abs(HeapBytes() - heap));
        }

        run.NativeBytes.Should().Be(native, "buffers are made before the first step");
        smallestHeapGrowth.Should().Be(0, "{0} steps must not keep native memory", Steps);
    }

    [Fact]
    public void ReportingAStepTakesLessThanAKilobyte()
    {
        string directory = Directory.CreateTempSubdirectory("ftc-metrics-").FullName;
        using (var metrics = new MetricsWriter(directory))
        {
            StepCompleted Report(int step) => new(step, 1.2345678901, 1e-4, 0.5, 1234.5, 1000L * step, 1.5 * step, 100, step % 7 == 0);
            for (int step = 1; step < 10; step++) metrics.Step(Report(step));
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int step = 10; step < 110; step++) metrics.Step(Report(step));
            long perStep = (GC.GetAllocatedBytesForCurrentThread() - before) / 100;
            perStep.Should().BeLessThanOrEqualTo(1000);
        }

        File.ReadLines(Path.Combine(directory, "metrics.jsonl")).Should().HaveCount(109);
        Directory.Delete(directory, recursive: true);
    }

    /// <summary>Bytes the C library's heap holds for its callers, mapped blocks included; 0 where it cannot say.</summary>
    private static long HeapBytes()
    {
        if (!OperatingSystem.IsLinux()) return 0;
        MallInfo info = mallinfo2();
        return (long)(info.InUse + info.Mapped);
    }

    [LibraryImport("libc")]
    private static partial MallInfo mallinfo2();

    /// <summary>struct mallinfo2 of glibc 2.33 and later.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct MallInfo
    {
        internal nuint Arena;
        internal nuint FreeChunks;
        internal nuint FastChunks;
        internal nuint MappedCount;
        internal nuint Mapped;
        internal nuint Unused;
        internal nuint FastBytes;
        internal nuint InUse;
        internal nuint Free;
        internal nuint Releasable;
    }
}
