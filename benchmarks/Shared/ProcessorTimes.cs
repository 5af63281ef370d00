using System.Globalization;

namespace FineTuneCore.Benchmarks;

/// <summary>Processor seconds as Linux counts them in /proc, in steps of 10 ms.</summary>
internal static class ProcessorTimes
{
    private const double TicksPerSecond = 100; // USER_HZ, which /proc counts in on every Linux of today

    /// <summary>Fields of /proc/PID/stat behind the name: user and system time of the process, and of its children that ended.</summary>
    private const int UserTime = 11;
    private const int ChildrenUserTime = 13;

    /// <summary>Seconds of the whole machine that were not idle: user, nice, system, interrupts, and what the hypervisor took.</summary>
    internal static double OfMachine()
    {
        using var reader = new StreamReader("/proc/stat");
        string[] fields = reader.ReadLine()!.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return new[] { 1, 2, 3, 6, 7, 8 }.Sum(i => Seconds(fields[i]));
    }

    internal static double OfProcess(int id) => Pair($"/proc/{id}/stat", UserTime);

    /// <summary>Of this process' children that ended.</summary>
    internal static double OfEndedChildren() => Pair("/proc/self/stat", ChildrenUserTime);

    private static double Pair(string file, int user)
    {
        string line = File.ReadAllText(file);
        string[] fields = line[(line.LastIndexOf(')') + 2)..].Split(' '); // behind the name, which may hold spaces
        return Seconds(fields[user]) + Seconds(fields[user + 1]);
    }

    private static double Seconds(string ticks) => double.Parse(ticks, CultureInfo.InvariantCulture) / TicksPerSecond;
}
