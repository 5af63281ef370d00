using FineTuneCore.Native;

namespace FineTuneCore.Kernels;

/// <summary>Memory of a device, owned or borrowed; alive until it is disposed, and as long as its views are in use.</summary>
public sealed class DeviceBuffer : IDisposable
{
    private readonly BufferHandle _handle;

    private DeviceBuffer(BufferHandle handle, nint address, long sizeBytes) => (_handle, Address, SizeBytes) = (handle, address, sizeBytes);

    /// <summary>Its address on the device, for other libraries.</summary>
    public nint Address { get; }

    /// <summary>Bytes.</summary>
    public long SizeBytes { get; }

    /// <summary>A matrix in this buffer.</summary>
    /// <param name="dtype">Type of the elements.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="offsetBytes">Of its first element.</param>
    /// <param name="rowStride">Elements between the starts of two rows; 0 = <paramref name="columns"/>.</param>
    /// <exception cref="ArgumentException">It does not lie inside the buffer.</exception>
    public TensorView View(DType dtype, long rows, long columns, long offsetBytes = 0, long rowStride = 0)
    {
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        ArgumentOutOfRangeException.ThrowIfNegative(offsetBytes);
        TensorView view = TensorView.At(Address + (nint)offsetBytes, dtype, rows, columns, rowStride);
        long end = offsetBytes + (rows == 0 ? 0 : ((rows - 1) * view.RowStride + columns) * dtype.Size());
        if (end > SizeBytes) throw new ArgumentException($"{view.ToString()} at byte {offsetBytes} ends at byte {end}, past the end of the buffer of {SizeBytes}", nameof(rows));
        return view;
    }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();

    internal static DeviceBuffer Owning(FtcStatus status, BufferHandle handle)
    {
        if (status != FtcStatus.Ok) handle.Dispose();
        status.ThrowIfFailed();
        NativeMethods.ftc_buffer_get_data(handle, out nint address, out long sizeBytes).ThrowIfFailed();
        return new DeviceBuffer(handle, address, sizeBytes);
    }
}
