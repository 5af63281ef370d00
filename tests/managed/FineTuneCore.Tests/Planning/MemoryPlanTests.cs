using FineTuneCore.Tests.Training;
using FineTuneCore.Training;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Planning;

/// <summary>The plan a run is judged by before anything is allocated, against what it then allocates.</summary>
public sealed class MemoryPlanTests
{
    [Theory]
    [InlineData(FineTuneMethod.Lora, false, "")]
    [InlineData(FineTuneMethod.Lora, false, "", OptimizerKind.AdamW8Bit)]
    [InlineData(FineTuneMethod.Full, false, "", OptimizerKind.AdamW8Bit)]
    [InlineData(FineTuneMethod.Full, false, "", OptimizerKind.Sgd)]
    [InlineData(FineTuneMethod.Lora, true, "")]
    [InlineData(FineTuneMethod.Lora, false, "embed_tokens,norm")]
    [InlineData(FineTuneMethod.QLora, false, "")]
    [InlineData(FineTuneMethod.QLora, true, "embed_tokens")]
    [InlineData(FineTuneMethod.Full, false, "")]
    [InlineData(FineTuneMethod.Full, true, "")]
    public void ThePlanIsWhatIsAllocated(FineTuneMethod method, bool checkpointing, string modules, OptimizerKind optimizer = OptimizerKind.AdamW)
    {
        foreach (string precision in (string[])["fp32", "bf16"])
        {
            Check(method, checkpointing, modules, precision, optimizer);
            if (!TestDevice.IsCpu && method != FineTuneMethod.Full) Check(method, checkpointing, modules, precision, optimizer, resident: 1);
        }
    }

    private static void Check(
        FineTuneMethod method, bool checkpointing, string modules, string precision, OptimizerKind optimizer, int? resident = null)
    {
        using var run = new StoriesRun();
        var options = new FineTuneOptions
        {
            Model = TestData.Path("models", "stories260K"), Data = run.Data, Method = method, ActivationCheckpointing = checkpointing, Threads = 1,
            Device = TestDevice.Name, Precision = precision, Optimizer = optimizer,
            ModulesToSave = modules.Split(',', StringSplitOptions.RemoveEmptyEntries), MicroBatchSize = 8,
            ResidentLayers = resident,
        };
        using var preparation = new RunPreparation(options, CancellationToken.None);
        long before = preparation.Backend.Info.MemoryUsedBytes;
        preparation.Load();
        long used = preparation.Backend.Info.MemoryUsedBytes - before;
        long planned = preparation.Memory.Sum(m => m.Bytes);
        // On the CPU LoRA's base lies in the mapped file: planned, as it must be in memory to be fast, but not allocated.
        long mapped = method == FineTuneMethod.Lora ? preparation.Memory.Single(m => m.Category == "weights").Bytes : 0;
        // RoPE tables, norms widened to fp32 and rounding to cache lines are small beside the rest, and the embedding of QLoRA stays mapped.
        if (method == FineTuneMethod.QLora) mapped = 512 * 64 * 4;
        if (!TestDevice.IsCpu || precision == "bf16") mapped = 0; // the file is fp32
        used.Should().BeInRange((long)(0.97 * (planned - mapped)), (long)(1.03 * (planned - mapped)) + 40_000);
    }
}
