using System.Diagnostics;
using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Training;

/// <summary>Profiles the steps of a run: the ops through a <see cref="ProfilingBackend"/>, the machine's roofs before and after.</summary>
internal sealed class StepProfiler
{
    private const long CopyBytes = 64L << 20; // past the last level of caches
    private const int CopyRepetitions = 5;

    private readonly IBackend _device;
    private readonly DType _activations;
    private readonly double _copyBytesPerSecond;
    private double? _peak;
    private int _steps;
    private long _tokens;
    private double _seconds;

    /// <summary>Measures the roofs; to be called before a run's own memory is taken.</summary>
    internal StepProfiler(IBackend device, DType activations)
    {
        (_device, _activations) = (device, activations);
        Backend = new ProfilingBackend(device);
        _peak = device.MeasurePeak(activations);
        _copyBytesPerSecond = MeasureCopy();
    }

    /// <summary>What the run works on.</summary>
    internal ProfilingBackend Backend { get; }

    /// <summary>The ops from here to <see cref="EndStep"/> count.</summary>
    internal void BeginStep() => Backend.IsRecording = true;

    internal void EndStep(double seconds, int tokens)
    {
        Backend.IsRecording = false;
        _steps++;
        _tokens += tokens;
        _seconds += seconds;
    }

    /// <summary>What was measured; null when no step was.</summary>
    internal StepProfile? Finish(string device)
    {
        if (_steps == 0) return null;
        if (_peak is not null) _peak = Math.Max(_peak.Value, _device.MeasurePeak(_activations)!.Value); // a neighbour may have slowed the first
        ProfiledOp[] ops = [.. Backend.Profile.Rows.Select(r => new ProfiledOp(r.Op, r.Calls, r.Seconds, r.Operations, r.Bytes))];
        var host = new ProfiledOp("between ops", _steps, Math.Max(0, _seconds - ops.Sum(o => o.Seconds)), 0, 0);
        return new StepProfile
        {
            Device = device,
            Steps = _steps,
            Tokens = _tokens,
            Seconds = _seconds,
            PeakFlopsPerSecond = _peak,
            CopyBytesPerSecond = _copyBytesPerSecond,
            Ops = [.. ops, host],
        };
    }

    private double MeasureCopy()
    {
        using DeviceBuffer from = _device.Allocate(CopyBytes, "the copy that is measured"), to = _device.Allocate(CopyBytes, "the copy that is measured");
        Tensor x = Tensor.Vector(from, 0, CopyBytes, DType.U8), y = Tensor.Vector(to, 0, CopyBytes, DType.U8);
        double best = double.PositiveInfinity;
        for (int i = 0; i < CopyRepetitions; i++)
        {
            long begin = Stopwatch.GetTimestamp();
            _device.Copy(y, x);
            _device.Synchronize();
            best = Math.Min(best, Stopwatch.GetElapsedTime(begin).TotalSeconds);
        }

        return 2 * CopyBytes / best;
    }
}
