using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Models;

namespace FineTuneCore.Planning;

/// <summary>Bytes a method needs, from shapes alone: the same plans that a run allocates from.</summary>
internal sealed record MemoryPlan(string Name, long Weights, long TrainedState, long Activations)
{
    internal long Total => Weights + TrainedState + Activations;

    /// <summary>Plans for LoRA over bf16 and NF4, and full fine-tuning, each with and without activation checkpointing.</summary>
    internal static IEnumerable<MemoryPlan> ForMethods(ModelConfig config, IBackend backend, int tokens, int rank)
    {
        var lora = new LoraOptions { Rank = rank };
        foreach (BufferMode mode in (BufferMode[])[BufferMode.Training, BufferMode.TrainingCheckpointed])
        {
            string suffix = mode == BufferMode.Training ? "" : ", checkpointing";
            long adapters = ActivationBytes(config, backend, tokens, mode, lora), plain = ActivationBytes(config, backend, tokens, mode, null);
            yield return new MemoryPlan($"lora bf16{suffix}", WideBytes(config, 2), TrainedBytes(config, lora), adapters);
            yield return new MemoryPlan($"qlora nf4{suffix}", Nf4Bytes(config), TrainedBytes(config, lora), adapters);
            yield return new MemoryPlan($"full fp32{suffix}", 0, config.ParameterCount * 16, plain);
        }
    }

    /// <summary>Bytes of the arena for passes of up to <paramref name="tokens"/> tokens.</summary>
    internal static long ActivationBytes(ModelConfig config, IBackend backend, int tokens, BufferMode mode, LoraOptions? lora)
    {
        Dictionary<string, ModuleSpec> modules = WeightNames.Modules(config).ToDictionary(m => m.Name);
        int RankOf(string module) => lora is not null && modules.TryGetValue(module, out ModuleSpec? spec) && lora.Targets(spec) ? lora.RankOf(module) : 0;
        return new BufferPlanner(config, backend, RankOf, mode, tokens, config.SlidingWindow.Distinct().Count()).Plan.Bytes;
    }

    /// <summary>Values, gradients and two moments of an adapter and of what is trained in full beside it, fp32.</summary>
    internal static long TrainedBytes(ModelConfig config, LoraOptions lora) => 16 * WeightNames.Modules(config).Sum(m =>
        (lora.Targets(m) ? lora.RankOf(m.Name) * (m.Rows + m.Columns) : 0) + (lora.Saves(m) ? m.Rows * m.Columns + (m.Bias ? m.Rows : 0) : 0));

    private static long WideBytes(ModelConfig config, int bytes) => WeightNames.Modules(config).Sum(m => Bytes(m, bytes));

    /// <summary>4 bits a weight, a byte per 64 and four per 16,384 for the linears; the rest in bf16.</summary>
    private static long Nf4Bytes(ModelConfig config) => WeightNames.Modules(config).Sum(m =>
        m.Kind == WeightKind.Linear ? m.Rows * m.Columns / 2 + m.Rows * m.Columns / 64 + m.Rows * m.Columns / 16384 * 4 : Bytes(m, 2));

    private static long Bytes(ModuleSpec m, int bytes) => m.Kind == WeightKind.Norm ? m.Columns * 4 : m.Rows * m.Columns * bytes + (m.Bias ? m.Rows * 4 : 0);
}
