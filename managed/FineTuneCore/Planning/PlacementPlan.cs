using FineTuneCore.Models;

namespace FineTuneCore.Planning;

/// <summary>
/// Where a run's weights lie and what it keeps for backward, with the bytes that takes: all on the device, or recomputing blocks, or streaming
/// layers from host memory.
/// </summary>
internal sealed record PlacementPlan(WeightOptions Options, BufferMode Mode, MemoryPlan Memory, long HostBytes, long PeakBytes, int Layers)
{
    /// <summary>What differs from a run that keeps everything on the device, a line each.</summary>
    internal IEnumerable<string> Choices(BufferMode asked)
    {
        if (Mode != asked) yield return "activation checkpointing, blocks are computed again in backward";
        if (Options.ResidentLayers is not { } resident || HostBytes == 0) yield break;
        string host = HostBytes >= 1e9 ? $"{HostBytes / 1e9:F1} GB" : $"{HostBytes / 1e6:F1} MB";
        yield return $"{resident} of {Layers} layers resident, the others streamed from {host} of host memory through a ring of {Math.Min(Options.RingSlots, Layers - resident)}";
    }

    /// <summary>The first of these that takes at most <paramref name="budget"/> bytes of the device: as asked; recomputing blocks in backward; with it as
    /// many layers resident as there is room for, the others streamed through a ring. Else null, and <paramref name="smallest"/> is the last resort.
    /// </summary>
    internal static PlacementPlan? Within(
        long budget, Func<WeightOptions, ModelPlan> planOf, WeightOptions asked, BufferMode mode, int rows, int positions, out PlacementPlan smallest)
    {
        PlacementPlan Of(WeightOptions options, BufferMode m) => PlacementPlan.Of(planOf(options), options, m, rows, positions);
        smallest = Of(asked, mode);
        if (smallest.PeakBytes <= budget) return smallest;
        if (mode == BufferMode.Training)
        {
            smallest = Of(asked, mode = BufferMode.TrainingCheckpointed);
            if (smallest.PeakBytes <= budget) return smallest;
        }

        ModelPlan plan = planOf(asked);
        int layers = plan.Config.NumHiddenLayers;
        if (asked.ResidentLayers is not null || !plan.CanStream) return null;
        long beside = smallest.PeakBytes - smallest.Memory.Weights; // the same wherever the layers lie
        for (int slots = LayerRing.MostSlots; slots >= LayerRing.FewestSlots; slots--)
        {
            if (layers <= slots) continue; // a ring of all layers saves nothing
            for (int resident = layers - slots - 1; resident >= 0; resident--)
            {
                WeightOptions options = asked with { ResidentLayers = resident, RingSlots = slots };
                if (beside + planOf(options).FrozenBytes <= budget) return Of(options, mode);
                if (resident == 0) smallest = Of(options, mode);
            }
        }

        return null;
    }

    internal static PlacementPlan Of(ModelPlan plan, WeightOptions options, BufferMode mode, int rows, int positions)
    {
        MemoryPlan memory = MemoryPlan.Of("this run", plan, mode, rows, positions);
        // Weights are loaded before there are activations.
        long peak = memory.Weights + memory.TrainedState + Math.Max(memory.Activations, plan.LoadingBytes);
        return new PlacementPlan(options, mode, memory, plan.HostBytes, peak, plan.Config.NumHiddenLayers);
    }
}
