using FineTuneCore.Backends;

namespace FineTuneCore.Tensors;

/// <summary>
/// A matrix view of device memory: buffer, byte offset, [rows, columns], row stride in elements. A default tensor is "none", which
/// optional arguments accept. Views are values: taking one allocates nothing.
/// </summary>
internal readonly record struct Tensor(DeviceBuffer? Buffer, long ByteOffset, long Rows, long Columns, long RowStride, DType DType)
{
    /// <summary>Columns behind each row, within the row stride, that a linear layer may overwrite; 0 = none.</summary>
    internal int Border { get; init; }

    internal bool IsNone => Buffer is null;

    /// <summary>Rows [first, first + count).</summary>
    internal Tensor RowBlock(long first, long count) =>
        this with { ByteOffset = ByteOffset + first * RowStride * DType.Size(), Rows = count };

    /// <summary>The first rows of a tensor planned for more.</summary>
    internal Tensor FirstRows(long count) => this with { Rows = count };

    /// <summary>A contiguous vector.</summary>
    internal static Tensor Vector(DeviceBuffer buffer, long byteOffset, long count, DType dtype = DType.F32) =>
        new(buffer, byteOffset, 1, count, count, dtype);
}
