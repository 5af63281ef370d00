using FineTuneCore.Backends;
using FineTuneCore.Native;

namespace FineTuneCore.Training;

/// <summary>The shape of a part of a step: all that work enqueued for it depends on. The default one is that of the update.</summary>
internal readonly record struct PartShape(int Rows, int TrainedRows);

/// <summary>
/// Runs the parts of a step as CUDA graphs, one for each shape: the first time as they are (a first call may prepare what cannot be recorded), the
/// second time recorded, then launched. A part that cannot be recorded is reported, and from there on all run as they are: the numbers are the same.
/// </summary>
internal sealed class StepGraphs(IBackend backend, bool enabled, Action<string> report) : IDisposable
{
    private const int MostShapes = 64; // what a graph takes on the device is small, but not nothing
    private readonly Dictionary<PartShape, DeviceGraph?> _graphs = []; // null: seen once
    private bool _enabled = enabled;

    /// <summary>Graphs recorded so far.</summary>
    internal int Count => _graphs.Values.Count(g => g is not null);

    /// <summary>Runs what <paramref name="enqueue"/> enqueues for this shape, always the same.</summary>
    internal void Run(PartShape shape, Action<PartShape> enqueue)
    {
        if (_enabled && _graphs.TryGetValue(shape, out DeviceGraph? graph))
        {
            if ((graph ?? Record(shape, enqueue)) is { } recorded)
            {
                backend.Launch(recorded);
                return;
            }
        }
        else if (_enabled && _graphs.Count < MostShapes)
        {
            _graphs.Add(shape, null);
        }

        enqueue(shape);
    }

    private DeviceGraph? Record(PartShape shape, Action<PartShape> enqueue)
    {
        try
        {
            backend.BeginCapture();
            try
            {
                enqueue(shape);
            }
            catch
            {
                End();
                throw;
            }

            return _graphs[shape] = backend.EndCapture();
        }
        catch (FtcException e) when (e.Status != FtcStatus.Device)
        {
            _enabled = false;
            report($"CUDA graphs are off from here on: {e.Message}");
            return null;
        }
    }

    /// <summary>Drops what was recorded; what went wrong before is what is told.</summary>
    private void End()
    {
        try
        {
            backend.EndCapture().Dispose();
        }
        catch (FtcException)
        {
        }
    }

    public void Dispose()
    {
        foreach (DeviceGraph? graph in _graphs.Values) graph?.Dispose();
    }
}
