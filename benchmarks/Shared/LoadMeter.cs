using System.Globalization;
using System.Runtime.InteropServices;

namespace FineTuneCore.Benchmarks;

/// <summary>
/// Time, own processor time, and what everybody else on the machine used, since the last look. A neighbour that was started on purpose is not among
/// the others. Linux.
/// </summary>
internal sealed class LoadMeter
{
    private readonly int _neighbour;
    private double _wall;
    private double _own;
    private double _others;

    /// <param name="neighbour">Process id of the neighbour, 0 without.</param>
    internal LoadMeter(int neighbour = 0)
    {
        _neighbour = neighbour;
        Look();
    }

    /// <summary>Seconds of wall time, of processor time of this process, and cores that others kept busy on average.</summary>
    internal readonly record struct Interval(double Seconds, double OwnSeconds, double OtherCores);

    /// <summary>What passed since the last look. Others are known to 10 ms of processor time in all.</summary>
    internal Interval Look()
    {
        double wall = Clock.Wall, own = Clock.Process, others = ProcessorTimes.OfMachine() - own - NeighbourSeconds();
        var result = new Interval(wall - _wall, own - _own, Math.Max(0, (others - _others) / (wall - _wall)));
        (_wall, _own, _others) = (wall, own, others);
        return result;
    }

    private double NeighbourSeconds() => _neighbour == 0 ? 0 : ProcessorTimes.OfProcess(_neighbour);
}

/// <summary>The clocks of Linux in seconds.</summary>
internal static partial class Clock
{
    private const int Monotonic = 1;
    private const int ProcessTime = 2;
    private const int ThreadTime = 3;

    internal static double Wall => Now(Monotonic);

    /// <summary>Processor time of all threads of this process.</summary>
    internal static double Process => Now(ProcessTime);

    /// <summary>Processor time of this thread: what others do on a shared core does not count.</summary>
    internal static double Thread => Now(ThreadTime);

    private static double Now(int clock)
    {
        _ = clock_gettime(clock, out TimeSpec time);
        return time.Seconds + 1e-9 * time.Nanoseconds;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }

    [LibraryImport("libc.so.6")]
    private static partial int clock_gettime(int clock, out TimeSpec time);
}
