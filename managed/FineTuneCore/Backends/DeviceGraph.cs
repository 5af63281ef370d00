namespace FineTuneCore.Backends;

/// <summary>Work that was recorded once on a backend and can be launched as one. Its owner disposes it before the backend.</summary>
internal abstract class DeviceGraph : IDisposable
{
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}
