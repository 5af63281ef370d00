using System.Globalization;

namespace FineTuneCore.Benchmarks;

/// <summary>What Linux says about this machine and this process.</summary>
internal static class Machine
{
    private static readonly string[] WideSets = ["avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_bf16"];

    /// <summary>Model name of the CPU with family and model numbers, which a cloud's name alone does not tell.</summary>
    internal static string Cpu => $"{Field("model name")}, family {Field("cpu family")} model {Field("model")}, {Environment.ProcessorCount} CPUs";

    internal static string Family => Field("cpu family");

    internal static string Model => Field("model");

    internal static string ModelName => Field("model name");

    /// <summary>The instruction sets among those that matter here which the CPU has.</summary>
    internal static string InstructionSets => string.Join(' ', WideSets.Intersect(Field("flags").Split(' ')));

    internal static bool Has(string flag) => Field("flags").Split(' ').Contains(flag);

    /// <summary>The most memory this process has had resident, in MB of 10⁶ bytes.</summary>
    internal static double PeakResidentMegabytes
    {
        get
        {
            string line = File.ReadLines("/proc/self/status").First(l => l.StartsWith("VmHWM:", StringComparison.Ordinal));
            return double.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024 / 1e6;
        }
    }

    /// <summary>Seconds since this process was started, runtime included.</summary>
    internal static double SecondsSinceStart => (DateTime.Now - System.Diagnostics.Process.GetCurrentProcess().StartTime).TotalSeconds;

    private static string Field(string name) =>
        File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith(name, StringComparison.Ordinal) && l[name.Length..].TrimStart().StartsWith(':')) is { } line
            ? line[(line.IndexOf(':') + 1)..].Trim() : "unknown";
}
