using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using FineTuneCore.Benchmarks.Comparison;

namespace FineTuneCore.Benchmarks.Scale;

/// <summary>
/// A run of <c>ftc train</c> in a process of its own, as a user starts it: what it reported, and the memory that the system says it had after each of
/// its lines.
/// </summary>
internal sealed class TrainRun
{
    private static readonly string Ftc = Path.Combine("managed", "FineTuneCore.Cli", "bin", "Release", "net10.0", "ftc.dll");

    /// <summary>Seconds from the start to the plan: runtime, data, weights.</summary>
    internal double SecondsToPlan { get; private set; }

    /// <summary>Tokens a second of each step.</summary>
    internal List<double> Rates { get; } = [];

    /// <summary>Resident memory after each step, MB of 10⁶ bytes.</summary>
    internal List<double> Resident { get; } = [];

    /// <summary>The most there was resident.</summary>
    internal double PeakMegabytes { get; private set; }

    /// <summary>The "profiled" event where the run was profiled.</summary>
    internal JsonObject? Profile { get; private set; }

    /// <summary>Steps after the first, which meets cold caches and code still being compiled.</summary>
    internal double TokensPerSecond => Statistics.Median(Rates.Skip(1));

    /// <exception cref="NoResultException">The run failed.</exception>
    internal static TrainRun Start(string model, string data, string options)
    {
        string output = Path.Combine(Path.GetTempPath(), $"ftc-scale-{Guid.NewGuid():N}");
        var start = new ProcessStartInfo(
            "dotnet", $"\"{Ftc}\" train --json --model \"{model}\" --data \"{data}\" --output \"{output}\" --validation-fraction 0 --overflow truncate {options}")
        {
            RedirectStandardOutput = true,
        };
        var run = new TrainRun();
        try
        {
            long begin = Stopwatch.GetTimestamp();
            using Process process = Process.Start(start)!;
            while (process.StandardOutput.ReadLine() is { } line) run.Take(JsonNode.Parse(line)!.AsObject(), process.Id, begin);
            process.WaitForExit();
            if (process.ExitCode != 0) throw new NoResultException($"ftc train {options} ended with exit code {process.ExitCode}");
            return run;
        }
        finally
        {
            if (Directory.Exists(output)) Directory.Delete(output, recursive: true);
        }
    }

    private void Take(JsonObject line, int process, long begin)
    {
        (double resident, double peak) = Memory(process);
        PeakMegabytes = Math.Max(PeakMegabytes, peak);
        switch ((string)line["event"]!)
        {
            case "started":
                SecondsToPlan = Stopwatch.GetElapsedTime(begin).TotalSeconds;
                break;
            case "step":
                Rates.Add((double)line["tokens_per_second"]!);
                Resident.Add(resident);
                break;
            case "profiled":
                Profile = line;
                break;
        }
    }

    private static (double Resident, double Peak) Memory(int process)
    {
        double resident = 0, peak = 0;
        try
        {
            foreach (string line in File.ReadLines($"/proc/{process}/status"))
            {
                if (line.StartsWith("VmRSS:", StringComparison.Ordinal)) resident = Kilobytes(line);
                else if (line.StartsWith("VmHWM:", StringComparison.Ordinal)) peak = Kilobytes(line);
            }
        }
        catch (IOException)
        {
            // The process is gone: its last line was read before.
        }

        return (resident, peak);
    }

    private static double Kilobytes(string line) => double.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024 / 1e6;
}
