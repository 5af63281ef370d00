using FineTuneCore.Native;

namespace FineTuneCore.Backends;

/// <summary>Memory of the native library, at an address that its ops reach; only <see cref="NativeBackend"/> reads it.</summary>
internal abstract class NativeMemory(long sizeBytes) : DeviceBuffer(sizeBytes)
{
    internal nint Data { get; private protected init; }
}

/// <summary>A buffer of the device.</summary>
internal sealed class NativeBuffer : NativeMemory
{
    private readonly BufferHandle _handle;
    private Action? _released;

    internal NativeBuffer(BufferHandle handle, long sizeBytes, Action? released)
        : base(sizeBytes)
    {
        (_handle, _released) = (handle, released);
        NativeMethods.ftc_buffer_get_data(handle, out nint data, out _).ThrowIfFailed();
        Data = data;
    }

    protected override void Dispose(bool disposing)
    {
        if (!disposing) return;
        _handle.Dispose();
        _released?.Invoke();
        _released = null;
    }
}

/// <summary>Pinned memory of the host.</summary>
internal sealed class NativeHostBuffer : NativeMemory
{
    private readonly HostBufferHandle _handle;

    internal NativeHostBuffer(HostBufferHandle handle, long sizeBytes)
        : base(sizeBytes)
    {
        _handle = handle;
        NativeMethods.ftc_host_buffer_get_data(handle, out nint data, out _).ThrowIfFailed();
        Data = data;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing) _handle.Dispose();
    }
}
