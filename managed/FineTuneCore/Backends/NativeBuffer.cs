using FineTuneCore.Native;

namespace FineTuneCore.Backends;

/// <summary>A buffer of the native library.</summary>
internal sealed class NativeBuffer : DeviceBuffer
{
    private readonly BufferHandle _handle;

    internal NativeBuffer(BufferHandle handle, long sizeBytes)
        : base(sizeBytes)
    {
        _handle = handle;
        NativeMethods.ftc_buffer_get_data(handle, out nint data, out _).ThrowIfFailed();
        Data = data;
    }

    /// <summary>Device address; only <see cref="NativeBackend"/> reads it.</summary>
    internal nint Data { get; }

    protected override void Dispose(bool disposing)
    {
        if (disposing) _handle.Dispose();
    }
}
