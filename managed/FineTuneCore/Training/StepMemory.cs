using System.Runtime.InteropServices;
using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Training;

/// <summary>
/// What a step keeps on the device between its parts: its numbers, the gradients' sum of squares, and the losses of all its rows. Numbers go there
/// in one copy before the step; sum and losses come back in one copy after it.
/// </summary>
internal sealed class StepMemory : IDisposable
{
    private const int Unit = 16; // bytes of StepNumbers and of UpdateNumbers
    private const int CacheLine = 64;

    private readonly IBackend _backend;
    private readonly DeviceBuffer _buffer;
    private readonly byte[] _numbers;
    private readonly float[] _results;
    private readonly int _rows;
    private readonly long _resultsAt;

    /// <summary>Memory for so many micro-batches of up to so many rows, and so many groups of parameters.</summary>
    internal StepMemory(IBackend backend, int groups, int microBatches, int rows)
    {
        (_backend, _rows) = (backend, rows);
        _numbers = new byte[(1 + groups) * Unit];
        _resultsAt = (_numbers.Length + CacheLine - 1) / CacheLine * CacheLine;
        _results = new float[checked(CacheLine / sizeof(float) + microBatches * rows)];
        _buffer = backend.Allocate(_resultsAt + _results.Length * 4L, "the losses of a step");
    }

    /// <summary><see cref="StepNumbers"/> on the device.</summary>
    internal Tensor Step => Tensor.Vector(_buffer, 0, Unit, DType.U8);

    internal Tensor Sum => Tensor.Vector(_buffer, _resultsAt, 1);

    /// <summary>Losses of all micro-batches; 0 where there are none.</summary>
    internal Tensor Losses => Tensor.Vector(_buffer, _resultsAt + CacheLine, _results.Length - CacheLine / sizeof(float));

    /// <summary>The gradients' sum of squares, after <see cref="Download"/>.</summary>
    internal float SumOfSquares => _results[0];

    /// <summary><see cref="UpdateNumbers"/> of a group on the device.</summary>
    internal Tensor Update(int group) => Tensor.Vector(_buffer, (1 + group) * Unit, Unit, DType.U8);

    internal Tensor LossesOf(int microBatch, int rows) => Losses with { ByteOffset = Losses.ByteOffset + (long)microBatch * _rows * 4, Columns = rows, RowStride = rows };

    /// <summary>Losses of a micro-batch, after <see cref="Download"/>.</summary>
    internal ReadOnlySpan<float> DownloadedLossesOf(int microBatch, int rows) => _results.AsSpan(CacheLine / sizeof(float) + microBatch * _rows, rows);

    internal void Set(StepNumbers step) => MemoryMarshal.Write(_numbers, in step);

    internal void Set(int group, UpdateNumbers update) => MemoryMarshal.Write(_numbers.AsSpan((1 + group) * Unit), in update);

    /// <summary>Takes the numbers that were set to the device, and forgets the losses of the step before.</summary>
    internal void Begin()
    {
        _backend.Upload<byte>(Tensor.Vector(_buffer, 0, _numbers.Length, DType.U8), _numbers);
        _backend.Zero(Losses);
    }

    /// <summary>Waits for the step and fetches sum and losses of its micro-batches.</summary>
    internal void Download(int microBatches)
    {
        Span<float> wanted = _results.AsSpan(0, CacheLine / sizeof(float) + microBatches * _rows);
        _backend.Download(wanted, Tensor.Vector(_buffer, _resultsAt, wanted.Length));
        _backend.Synchronize(); // what only the device could see is reported here
    }

    public void Dispose() => _buffer.Dispose();
}
