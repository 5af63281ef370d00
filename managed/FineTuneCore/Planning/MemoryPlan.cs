using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;

namespace FineTuneCore.Planning;

/// <summary>Bytes a method needs, from shapes alone: the same plans that a run allocates from.</summary>
internal sealed record MemoryPlan(string Name, long Weights, long TrainedState, long Activations)
{
    internal long Total => Weights + TrainedState + Activations;

    /// <summary>LoRA over bf16 and NF4 with adapters on all linears, and full fine-tuning.</summary>
    internal static (string Name, WeightOptions Options)[] Methods(Precision precision, int rank, long packedRows = long.MaxValue)
    {
        var lora = new WeightOptions { Precision = precision, Lora = new LoraOptions { Rank = rank }, PackedRows = packedRows };
        return
        [
            ("lora bf16", lora), ("qlora nf4", lora with { Format = BaseFormat.Nf4 }),
            ($"full {precision.Name()}", new WeightOptions { Precision = precision, TrainAll = true }),
        ];
    }

    /// <summary>Plans for each of these methods with and without activation checkpointing.</summary>
    internal static IEnumerable<MemoryPlan> ForMethods(
        ModelConfig config, IBackend backend, Precision precision, int tokens, int positions, int rank, long packedRows = long.MaxValue)
    {
        foreach (BufferMode mode in (BufferMode[])[BufferMode.Training, BufferMode.TrainingCheckpointed])
        {
            foreach ((string name, WeightOptions options) in Methods(precision, rank, packedRows))
                yield return Of(mode == BufferMode.Training ? name : $"{name}, checkpointing", new ModelPlan(config, backend, options, _ => ElementType.BF16), mode, tokens, positions);
        }
    }

    /// <summary>The bytes of a planned model with passes of up to <paramref name="tokens"/> tokens at up to so many positions.</summary>
    internal static MemoryPlan Of(string name, ModelPlan plan, BufferMode mode, int tokens, int positions) =>
        new(name, plan.FrozenBytes, plan.TrainedBytes, plan.ActivationBytes(mode, tokens, positions));
}
