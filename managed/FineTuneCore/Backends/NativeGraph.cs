using FineTuneCore.Native;

namespace FineTuneCore.Backends;

/// <summary>A graph of the native library.</summary>
internal sealed class NativeGraph(GraphHandle handle) : DeviceGraph
{
    internal GraphHandle Handle { get; } = handle;

    protected override void Dispose(bool disposing)
    {
        if (disposing) Handle.Dispose();
    }
}
