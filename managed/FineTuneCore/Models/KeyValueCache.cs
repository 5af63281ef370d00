using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Models;

/// <summary>Keys and values of every layer for up to Capacity positions of one sequence.</summary>
internal sealed class KeyValueCache : IDisposable
{
    private readonly DeviceBuffer _buffer;

    internal KeyValueCache(DecoderWeights weights, int capacity, int maxRows)
    {
        ModelConfig config = weights.Config;
        Capacity = capacity;
        Positions = new int[maxRows];
        Starts = new int[maxRows];
        var plan = new ArenaPlan();
        Slot[] slots = [.. Enumerable.Range(0, 2 * config.NumHiddenLayers).Select(_ => plan.Add(capacity, config.KeyValueWidth, dtype: weights.Plan.Activations))];
        _buffer = weights.Backend.Allocate(plan.Bytes, $"a key-value cache of {capacity} positions");
        Keys = [.. slots[..config.NumHiddenLayers].Select(s => s.In(_buffer))];
        Values = [.. slots[config.NumHiddenLayers..].Select(s => s.In(_buffer))];
    }

    internal int Capacity { get; }

    /// <summary>Positions filled so far; set it back to forget what follows.</summary>
    internal int Length { get; set; }

    internal Tensor[] Keys { get; }

    internal Tensor[] Values { get; }

    /// <summary>Scratch of <see cref="Decoder.ForwardCached"/>, here so that a step allocates nothing.</summary>
    internal int[] Positions { get; }

    /// <summary>All zero: a cached sequence starts at key 0.</summary>
    internal int[] Starts { get; }

    public void Dispose() => _buffer.Dispose();
}
