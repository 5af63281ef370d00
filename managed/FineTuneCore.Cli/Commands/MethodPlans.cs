using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FineTuneCore.Planning;
using FineTuneCore.Training;

namespace FineTuneCore.Cli.Commands;

/// <summary>What training a model would need by each method, from its config alone.</summary>
internal sealed class MethodPlans(ModelConfig config, Device device, int sequenceLength, int microBatchSize, int rank)
{
    private readonly long _packedRows = device.Tune() ?? long.MaxValue;

    /// <summary>Bytes of every method, with and without checkpointing.</summary>
    internal void Print()
    {
        Console.Out.WriteLine();
        Console.Out.WriteLine($"memory to train on {device.Name} in {device.Precision.Name()} with {microBatchSize} x {sequenceLength} tokens, adapters of rank {rank} on all linears (weights + trained state + activations)");
        foreach (MemoryPlan plan in MemoryPlan.ForMethods(config, device.Backend, device.Precision, sequenceLength * microBatchSize, sequenceLength, rank, _packedRows))
            InspectModel.Line(plan.Name, Figures(plan));
        DeviceInfo info = device.Backend.Info;
        if (info.MemoryOverheadBytes > 0) InspectModel.Line("driver and streams", $"{info.MemoryOverheadBytes / 1e6,10:N1} MB");
        InspectModel.Line("free now", $"{info.MemoryAvailableBytes / 1e6,10:N1} MB");
    }

    /// <summary>How each method stays below a cap, as <c>ftc train --vram</c> would.</summary>
    internal void PrintWithin(string size)
    {
        long vram = Size(size);
        if (device.Name.Kind != DeviceKind.Cuda) throw FineTuneException.Usage("--vram is about a GPU's memory; give --device cuda.");
        long overhead = RunMemory.Overhead(device.Backend, vram, sequenceLength * microBatchSize);
        Console.Out.WriteLine();
        Console.Out.WriteLine($"within {RunMemory.Text(vram)}, of which {RunMemory.Text(overhead)} for the driver and kernels");
        foreach ((string name, WeightOptions options) in MemoryPlan.Methods(device.Precision, rank, _packedRows))
        {
            PlacementPlan? plan = PlacementPlan.Within(
                vram - overhead, o => new ModelPlan(config, device.Backend, o, _ => ElementType.BF16), options, BufferMode.Training, sequenceLength * microBatchSize,
                sequenceLength, out PlacementPlan smallest);
            InspectModel.Line(name, plan is null
                ? $"{(overhead + smallest.PeakBytes) / 1e6,10:N1} MB at least: does not fit"
                : $"{(overhead + plan.PeakBytes) / 1e6,10:N1} MB: {string.Join("; ", plan.Choices(BufferMode.Training).DefaultIfEmpty("everything resident, nothing recomputed"))}");
            InspectModel.Line("", Figures((plan ?? smallest).Memory));
        }
    }

    private static long Size(string text)
    {
        try
        {
            return Setting.ParseBytes(text);
        }
        catch (FormatException e)
        {
            throw FineTuneException.Usage($"--vram is '{text}', expected {e.Message}.");
        }
    }

    private static string Figures(MemoryPlan plan) =>
        $"{plan.Total / 1e6,10:N1} MB = {plan.Weights / 1e6:N1} + {plan.TrainedState / 1e6:N1} + {plan.Activations / 1e6:N1}";
}
