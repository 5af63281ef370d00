namespace FineTuneCore.Kernels;

/// <summary>
/// Scratch memory of ops that need some. It grows to the largest need it meets and is then used again, so that after the first step nothing is
/// allocated; one serves all ops of a stream.
/// </summary>
public sealed class Workspace(DeviceStream stream) : IDisposable
{
    private DeviceBuffer? _buffer;

    /// <summary>Bytes it has grown to.</summary>
    public long SizeBytes => _buffer?.SizeBytes ?? 0;

    /// <inheritdoc/>
    public void Dispose() => _buffer?.Dispose();

    /// <summary>Memory for an op on <paramref name="user"/>.</summary>
    internal nint Reserve(DeviceStream user, long bytes, string op)
    {
        if (user != stream) throw new ArgumentException($"{op}: the workspace belongs to another stream, whose ops may be using it; make one for each stream", "workspace");
        if (bytes > SizeBytes)
        {
            stream.Synchronize(); // enqueued ops may still use the old one
            _buffer?.Dispose();
            _buffer = null;
            _buffer = stream.Device.Allocate(bytes);
        }

        return _buffer?.Address ?? 0;
    }
}
