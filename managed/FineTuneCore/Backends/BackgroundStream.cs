using FineTuneCore.Tensors;

namespace FineTuneCore.Backends;

/// <summary>A point in a stream's work that another stream can wait for. Never recorded it stands for nothing.</summary>
internal abstract class DeviceEvent : IDisposable
{
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}

/// <summary>What runs in the background, each kind in a stream of its own.</summary>
internal enum BackgroundWork
{
    /// <summary>Copies from host memory.</summary>
    Upload,

    /// <summary>Dequantisation of what comes next.</summary>
    Dequantise,
}

/// <summary>
/// Work beside the backend's own stream: copies, and dequantisation on few multiprocessors. Nothing orders the two but events. On the CPU
/// everything runs inside its call.
/// </summary>
internal interface IBackgroundStream
{
    /// <summary>Copies from pinned host memory, which must stay as it is until the copy is done.</summary>
    void Upload(Tensor destination, Tensor pinned);

    void Dequantize(Tensor y, WeightMatrix weight);

    void Record(DeviceEvent point);

    void Wait(DeviceEvent point);
}
