using System.Diagnostics;
using System.Text.Json.Nodes;

namespace FineTuneCore.Benchmarks.Comparison.Kernels;

/// <summary>Runs a side or the native runner over some cases, and hands on each line as it comes.</summary>
internal static class KernelProcess
{
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(15);

    /// <summary>Runs a process that reads keys of cases and prints a JSON line for each.</summary>
    /// <param name="start">Its program, arguments and environment.</param>
    /// <param name="keys">The cases.</param>
    /// <param name="line">Told every line together with the cores that others kept busy since the line before.</param>
    /// <returns>Null; or why it did not end properly, be it that it refused.</returns>
    internal static string? Run(ProcessStartInfo start, IEnumerable<string> keys, Action<JsonObject, double> line)
    {
        start.RedirectStandardInput = true;
        using Process process = Process.Start(start)!;
        using var watchdog = new Timer(_ => process.Kill(entireProcessTree: true), null, Longest, Timeout.InfiniteTimeSpan);
        foreach (string key in keys) process.StandardInput.WriteLine(key);
        process.StandardInput.Close();
        string last = "";
        var meter = new LoadMeter(process.Id);
        while (process.StandardOutput.ReadLine() is { } text)
        {
            last = text;
            if (text.StartsWith('{')) line(JsonNode.Parse(text)!.AsObject(), Others(meter));
        }

        process.WaitForExit();
        return process.ExitCode switch
        {
            0 => null,
            MeasuringProcess.Refused or MeasuringProcess.DoesNotLoad => last[(last.IndexOf(": ", StringComparison.Ordinal) + 2)..].TrimEnd('.'),
            _ => $"the process ended with exit code {process.ExitCode}",
        };
    }

    private static double Others(LoadMeter meter)
    {
        try
        {
            return meter.Look().OtherCores;
        }
        catch (IOException)
        {
            return 0; // the process has just ended, its times with it: this was its last line, which times nothing
        }
    }
}
