namespace FineTuneCore.Benchmarks.Comparison.Kernels;

/// <summary>What a call costs under .NET over the same call from C++.</summary>
internal static class BindingCost
{
    /// <summary>Calls shorter than this show the cost itself; in longer ones it drowns in how much a time differs from run to run.</summary>
    private const double ShortNs = 20_000;

    /// <summary>A line for each case and instruction set, and what they come to.</summary>
    /// <param name="onlyShort">Only short calls have a line; all count for what they come to.</param>
    internal static IEnumerable<string> Lines(KernelTable table, IReadOnlyCollection<string> cases, bool onlyShort = false)
    {
        KernelEntry[] both = [.. table.Entries.Where(e => cases.Contains(e.Case) && e is { MedianNs: not null, NativeNs: not null })];
        if (both.Length == 0) yield break;
        yield return $"{"case",-42} {"side",-10} {".NET",10} {"C++",10} {"difference",11}";
        foreach (KernelEntry entry in both.Where(e => !onlyShort || e.NativeNs < ShortNs))
            yield return $"{entry.Case,-42} {entry.Side,-10} {KernelPage.Time(entry.MedianNs!.Value),10} {KernelPage.Time(entry.NativeNs!.Value),10} {Signed(Cost(entry)),11} {100 * Cost(entry) / entry.NativeNs.Value,6:+0.0;-0.0} %";
        KernelEntry[] brief = [.. both.Where(e => e.NativeNs < ShortNs)];
        if (brief.Length > 0) yield return $"calls shorter than {KernelPage.Time(ShortNs)}: {Signed(Statistics.Median(brief.Select(Cost)))} in the median of {brief.Length}, at most {Signed(brief.Max(Cost))}";
        KernelEntry[] others = [.. both.Where(e => e.NativeNs >= ShortNs)];
        if (others.Length > 0) yield return $"longer calls: {Statistics.Median(others.Select(e => 100 * Cost(e) / e.NativeNs!.Value)):+0.0;-0.0} % in the median of {others.Length}";
    }

    private static double Cost(KernelEntry entry) => entry.MedianNs!.Value - entry.NativeNs!.Value;

    private static string Signed(double ns) => $"{(ns < 0 ? "-" : "+")}{KernelPage.Time(Math.Abs(ns))}";
}
