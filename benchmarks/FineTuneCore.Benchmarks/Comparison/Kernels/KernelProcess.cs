using System.Diagnostics;
using System.Text.Json.Nodes;

namespace FineTuneCore.Benchmarks.Comparison.Kernels;

/// <summary>How a process ended.</summary>
/// <param name="Problem">Null when it did what it was asked for.</param>
/// <param name="IsBroken">Whether it fell over, where others have refused.</param>
internal readonly record struct KernelProcessEnd(string? Problem, bool IsBroken);

/// <summary>Runs a side or the native runner over some cases, and hands on each line as it comes.</summary>
internal static class KernelProcess
{
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(15);

    /// <summary>Runs a process that reads keys of cases and prints a JSON line for each, a first line before and a last one behind them.</summary>
    /// <param name="start">Its program, arguments and environment.</param>
    /// <param name="keys">The cases.</param>
    /// <param name="line">Told every line together with the cores that others kept busy since the line before.</param>
    internal static KernelProcessEnd Run(ProcessStartInfo start, IEnumerable<string> keys, Action<JsonObject, double> line)
    {
        start.RedirectStandardInput = true;
        using Process process = Process.Start(start)!;
        using var watchdog = new Timer(_ => process.Kill(entireProcessTree: true), null, Longest, Timeout.InfiniteTimeSpan);
        Send(process.StandardInput, keys);
        string last = "";
        LoadMeter? meter = null;
        while (process.StandardOutput.ReadLine() is { } text)
        {
            last = text;
            if (text.StartsWith('{')) line(JsonNode.Parse(text)!.AsObject(), Others(ref meter, process.Id));
        }

        process.WaitForExit();
        return process.ExitCode switch
        {
            0 => new KernelProcessEnd(null, IsBroken: false),
            MeasuringProcess.Refused or MeasuringProcess.DoesNotLoad => new KernelProcessEnd(FirstSentence(last[(last.IndexOf(": ", StringComparison.Ordinal) + 2)..]), IsBroken: false),
            _ => new KernelProcessEnd($"the process ended with exit code {process.ExitCode}", IsBroken: true),
        };
    }

    /// <summary>What is behind it names what was tried and what to do, with paths of this machine that a table has no use for.</summary>
    private static string FirstSentence(string text) => text.Split(". ")[0].TrimEnd('.');

    private static void Send(StreamWriter input, IEnumerable<string> keys)
    {
        try
        {
            foreach (string key in keys) input.WriteLine(key);
            input.Close();
        }
        catch (IOException)
        {
            // It has refused and reads nothing; its last line says why.
        }
    }

    private static double Others(ref LoadMeter? meter, int process)
    {
        try
        {
            meter ??= new LoadMeter(process);
            return meter.Look().OtherCores;
        }
        catch (IOException)
        {
            return 0; // the process has just ended, its times with it: this was its last line, which times nothing
        }
    }
}
