using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Models;

/// <summary>
/// Frozen weights of the later blocks, kept in pinned host memory and brought to the device through a ring of a few slots, each block just
/// before its turn: upwards in forward, downwards in backward. Block l always comes into the same slot, so matrices point there once and
/// for all. An event for each slot says that it is filled, another that what read it is done.
/// </summary>
internal sealed class LayerRing : IDisposable
{
    /// <summary>Slots a ring has where nothing speaks for fewer: one is read, one is filled, one is ready.</summary>
    internal const int MostSlots = 3;

    /// <summary>One is read while the other is filled.</summary>
    internal const int FewestSlots = 2;

    /// <summary>Of the parts of a block, in bytes: what matrices of the device like.</summary>
    internal const long Alignment = 256;

    private readonly IBackend _backend;
    private readonly IBackgroundStream _uploads;
    private readonly int _first;
    private readonly long _slotBytes;
    private readonly DeviceBuffer _buffer;
    private readonly DeviceBuffer[] _blocks; // in host memory, from _first on
    private readonly int[] _held;            // the block each slot has, or is being given; -1 = none
    private readonly DeviceEvent[] _filled;
    private readonly DeviceEvent[] _free;

    internal LayerRing(IBackend backend, ModelPlan plan)
    {
        (_backend, _first, _slotBytes) = (backend, plan.StreamedFrom, plan.SlotBytes);
        _uploads = backend.Background(BackgroundWork.Upload);
        _blocks = new DeviceBuffer[plan.Config.NumHiddenLayers - _first];
        _held = new int[plan.RingSlots];
        Array.Fill(_held, -1);
        _buffer = backend.Allocate(plan.RingBytes, $"a ring of {_held.Length} layers");
        _filled = [.. _held.Select(_ => backend.CreateEvent())];
        _free = [.. _held.Select(_ => backend.CreateEvent())];
    }

    /// <summary>The block that is added next.</summary>
    internal int Next => _first + Array.IndexOf(_blocks, null!);

    /// <summary>The same matrix where it lies when its block is on the device, for one that was loaded into the block's host memory.</summary>
    internal WeightMatrix InSlot(WeightMatrix matrix, DeviceBuffer block, int layer)
    {
        long slot = SlotOf(layer) * _slotBytes;
        Tensor Moved(Tensor part) => part.Buffer == block ? part with { Buffer = _buffer, ByteOffset = slot + part.ByteOffset } : part;
        return matrix.WithMemory(Moved);
    }

    /// <summary>Takes over the host memory of a block.</summary>
    internal void Add(int layer, DeviceBuffer block) => _blocks[layer - _first] = block;

    /// <summary>Before a forward pass: the first blocks set out for the device.</summary>
    internal void Begin()
    {
        for (int layer = _first; layer < Math.Min(_first + _held.Length, _first + _blocks.Length); layer++) Request(layer);
    }

    /// <summary>What the backend is given from now on finds the weights of a block.</summary>
    internal void Enter(int layer)
    {
        if (layer < _first) return;
        Request(layer);
        _backend.Wait(_filled[SlotOf(layer)]);
    }

    /// <summary>The backend has been given all that reads a block, in a pass upwards (1) or downwards (-1): its slot takes what comes next.</summary>
    internal void Leave(int layer, int direction)
    {
        if (layer < _first) return;
        _backend.Record(_free[SlotOf(layer)]);
        int next = layer + direction * _held.Length;
        if (next >= _first && next < _first + _blocks.Length) Request(next);
    }

    /// <summary>Whether a block is on the device or on its way.</summary>
    internal bool Holds(int layer) => layer < _first || _held[SlotOf(layer)] == layer;

    /// <summary>What another stream is given from now on finds the weights of a block that is held.</summary>
    internal void Await(IBackgroundStream stream, int layer)
    {
        if (layer >= _first) stream.Wait(_filled[SlotOf(layer)]);
    }

    private int SlotOf(int layer) => (layer - _first) % _held.Length;

    private void Request(int layer)
    {
        int slot = SlotOf(layer);
        if (_held[slot] == layer) return;
        DeviceBuffer block = _blocks[layer - _first];
        _uploads.Wait(_free[slot]);
        _uploads.Upload(
            Tensor.Vector(_buffer, slot * _slotBytes, block.SizeBytes, DType.U8), Tensor.Vector(block, 0, block.SizeBytes, DType.U8));
        _uploads.Record(_filled[slot]);
        _held[slot] = layer;
    }

    public void Dispose()
    {
        foreach (DeviceEvent e in _filled) e.Dispose();
        foreach (DeviceEvent e in _free) e.Dispose();
        _buffer.Dispose();
    }
}
