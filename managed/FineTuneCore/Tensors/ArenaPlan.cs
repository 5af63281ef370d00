using FineTuneCore.Backends;

namespace FineTuneCore.Tensors;

/// <summary>Where a planned tensor lies in its arena.</summary>
internal readonly record struct Slot(long ByteOffset, long Rows, long Columns, long RowStride, DType DType, int Border)
{
    internal Tensor In(DeviceBuffer buffer) => new(buffer, ByteOffset, Rows, Columns, RowStride, DType) { Border = Border };
}

/// <summary>
/// Lays tensors end to end in one buffer before any of it exists. Run without the buffer it is the memory estimate, to the byte.
/// </summary>
internal sealed class ArenaPlan
{
    private const long Alignment = 64; // a cache line, and the widest vector

    /// <summary>Bytes the arena needs.</summary>
    internal long Bytes { get; private set; }

    /// <summary>Plans a [rows, columns] matrix; a border lies within its row stride.</summary>
    internal Slot Add(long rows, long columns, long rowStride = 0, DType dtype = DType.F32, int border = 0)
    {
        if (rowStride == 0) rowStride = columns;
        long bytes = checked((rows * rowStride * dtype.Size() + Alignment - 1) / Alignment * Alignment);
        var slot = new Slot(Bytes, rows, columns, rowStride, dtype, border);
        Bytes = checked(Bytes + bytes);
        return slot;
    }
}
