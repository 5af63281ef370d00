using System.Diagnostics;
using System.Globalization;

namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>What all tables of one run of the comparison share.</summary>
internal sealed class Session
{
    internal required int PairCount { get; init; }

    /// <summary>For development on a busy machine: nothing of it is a result, and nothing is written where results lie.</summary>
    internal required bool AllowLoad { get; init; }

    internal required string Command { get; init; }

    internal string Cpu { get; } = Machine.Cpu;

    internal string Commit { get; } = Git("rev-parse --short HEAD") + (Git("status --porcelain --untracked-files=no -- :!benchmarks/results").Length == 0 ? "" : " with changes");

    internal string Date { get; } = DateTime.UtcNow.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);

    internal StrictPairs Pairs => new(PairCount, AllowLoad, Report);

    /// <summary>The folder that tables are written to.</summary>
    internal string Results => AllowLoad ? Path.Combine("artifacts", "bench", "not-a-result") : Path.Combine("benchmarks", "results", MachineName.Here);

    internal void Report(string line) => Console.WriteLine($"{DateTime.Now:HH:mm:ss} {line}");

    private static string Git(string arguments)
    {
        using Process git = Process.Start(new ProcessStartInfo("git", arguments) { RedirectStandardOutput = true })!;
        string text = git.StandardOutput.ReadToEnd().Trim();
        git.WaitForExit();
        return text;
    }
}
