namespace FineTuneCore.Backends;

/// <summary>Memory of a backend's device. It has an owner who disposes it; nobody outside the backend sees an address.</summary>
internal abstract class DeviceBuffer : IDisposable
{
    protected DeviceBuffer(long sizeBytes) => SizeBytes = sizeBytes;

    internal long SizeBytes { get; }

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}
