using System.Globalization;
using System.Runtime.InteropServices;

namespace FineTuneCore.Benchmarks;

/// <summary>
/// Time, own processor time, and what everybody else on the machine used, since the last look. A neighbour that was started on purpose is not among
/// the others. Linux.
/// </summary>
internal sealed class LoadMeter
{
    private const double TicksPerSecond = 100; // USER_HZ, which /proc/stat counts in on every Linux of today
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
        double wall = Clock.Wall, own = Clock.Process, others = BusySeconds() - own - NeighbourSeconds();
        var result = new Interval(wall - _wall, own - _own, Math.Max(0, (others - _others) / (wall - _wall)));
        (_wall, _own, _others) = (wall, own, others);
        return result;
    }

    private double NeighbourSeconds()
    {
        if (_neighbour == 0) return 0;
        string line = File.ReadAllText($"/proc/{_neighbour}/stat");
        string[] fields = line[(line.LastIndexOf(')') + 2)..].Split(' '); // behind the name, which may hold spaces
        return (double.Parse(fields[11], CultureInfo.InvariantCulture) + double.Parse(fields[12], CultureInfo.InvariantCulture)) / TicksPerSecond;
    }

    /// <summary>Processor seconds of the machine that were not idle: user, nice, system, interrupts, and what the hypervisor took.</summary>
    private static double BusySeconds()
    {
        using var reader = new StreamReader("/proc/stat");
        string[] fields = reader.ReadLine()!.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        double Field(int i) => double.Parse(fields[i], CultureInfo.InvariantCulture);
        return (Field(1) + Field(2) + Field(3) + Field(6) + Field(7) + Field(8)) / TicksPerSecond;
    }
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
