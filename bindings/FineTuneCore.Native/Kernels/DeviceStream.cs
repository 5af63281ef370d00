using FineTuneCore.Native;

namespace FineTuneCore.Kernels;

/// <summary>
/// An ordered queue of ops of one device. On the CPU an op has run when its method returns; on a GPU it has been accepted, and what fails later
/// is thrown by <see cref="Synchronize"/>.
/// </summary>
public sealed unsafe class DeviceStream : IDisposable
{
    internal DeviceStream(Device device)
    {
        Device = device;
        FtcStatus status = NativeMethods.ftc_stream_create(out StreamHandle handle, device.Handle);
        Handle = handle;
        if (status != FtcStatus.Ok) handle.Dispose();
        status.ThrowIfFailed();
    }

    /// <summary>Whose ops.</summary>
    public Device Device { get; }

    internal StreamHandle Handle { get; }

    /// <summary>Waits for everything given to this stream.</summary>
    /// <exception cref="FtcException">One of the ops failed.</exception>
    public void Synchronize() => NativeMethods.ftc_stream_synchronize(Handle).ThrowIfFailed();

    /// <summary>Copies to the device; the source has been read when this returns.</summary>
    /// <param name="destination">Contiguous, as many elements as <paramref name="source"/>, of its type.</param>
    /// <param name="source">Ordinary memory.</param>
    public void Upload<T>(TensorView destination, ReadOnlySpan<T> source)
        where T : unmanaged
    {
        Check.Copy(destination, DTypes.Of<T>(), source.Length, "DeviceStream.Upload");
        Check.Writable(this, destination, "DeviceStream.Upload", nameof(destination));
        fixed (byte* to = destination)
        fixed (T* from = source)
            NativeMethods.ftc_copy_from_host(Handle, (nint)to, (nint)from, (long)source.Length * sizeof(T)).ThrowIfFailed();
    }

    /// <summary>Copies from the device; waits for what was given to this stream before.</summary>
    /// <param name="destination">Ordinary memory.</param>
    /// <param name="source">Contiguous, as many elements as <paramref name="destination"/>, of its type.</param>
    public void Download<T>(Span<T> destination, TensorView source)
        where T : unmanaged
    {
        Check.Copy(source, DTypes.Of<T>(), destination.Length, "DeviceStream.Download");
        Check.Readable(this, source, "DeviceStream.Download", nameof(source));
        fixed (byte* from = source)
        fixed (T* to = destination)
            NativeMethods.ftc_copy_to_host(Handle, (nint)to, (nint)from, (long)destination.Length * sizeof(T)).ThrowIfFailed();
    }

    /// <inheritdoc/>
    public void Dispose() => Handle.Dispose();
}
