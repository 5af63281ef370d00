using System.Globalization;
using System.Text;
using FineTuneCore.Benchmarks.Kernels;

namespace FineTuneCore.Benchmarks.Comparison.Kernels;

/// <summary>The page of a machine's kernels: for each family a plot and a table with a column for every side.</summary>
internal static class KernelPage
{
    internal static string Write(KernelTable table, bool notAResult)
    {
        var page = new StringBuilder("# Kernels\n");
        if (notAResult) page.Append("\n**Not a result**: the load of the machine was not looked at.\n");
        page.Append('\n').Append(
            """
            Made by `./build.sh bench ops`; the section "Kernels against kernels" of `benchmarks/README.md` says how to read it. A cell has the median time of a
            call, its rate in the unit of the first column, the share of the measured peak (of a copy for GB/s; none where the operands fit a cache), and **how many times faster than TorchSharp**.

            """);
        IReadOnlyList<string> absent = Absent(table);
        foreach (string side in absent) page.Append($"\nNot here: `{side}`: {table.Entries.First(e => e.Side == side).Reason}.\n");
        foreach (KernelFamily family in KernelFamily.All) Section(page, table, family, absent);
        Binding(page, table);
        Sides(page, table);
        return page.ToString();
    }

    /// <summary>Bars of the rates of a family; null where there are none.</summary>
    internal static string? Plot(KernelTable table, KernelFamily family)
    {
        // What fits a cache has rates of another order.
        KernelEntry[] drawn = [.. table.Entries.Where(e => e.Family == family.Name && e.Rate is not null && (family.IsArithmetic || e.Share is not null))];
        if (drawn.Length == 0) return null;
        string commits = string.Join(", ", drawn.Select(e => e.Commit).Distinct());
        return KernelPlot.Draw(
            $"{family.Title}: {family.Unit}", $"one thread; {table.Cpu}; commit {commits}", KernelSide.Names,
            [.. drawn.GroupBy(e => e.Case).Select(g => new PlotGroup(g.Key, [.. g.Select(e => new PlotBar(e.Side, e.Rate!.Value))]))]);
    }

    /// <summary>With three digits and its unit.</summary>
    internal static string Time(double ns) => ns switch
    {
        < 1e3 => $"{Number(ns)} ns",
        < 1e6 => $"{Number(ns / 1e3)} µs",
        < 1e9 => $"{Number(ns / 1e6)} ms",
        _ => $"{Number(ns / 1e9)} s",
    };

    /// <summary>With three digits, but whole where it is larger.</summary>
    internal static string Number(double value) => value.ToString(Math.Abs(value) switch { >= 99.95 => "F0", >= 9.995 => "F1", _ => "F2" }, CultureInfo.InvariantCulture);

    /// <summary>Sides without any number that give one reason for all.</summary>
    private static IReadOnlyList<string> Absent(KernelTable table) =>
        [.. table.Entries.GroupBy(e => e.Side).Where(g => g.All(e => e.MedianNs is null) && g.Select(e => e.Reason).Distinct().Count() == 1).Select(g => g.Key)];

    private static void Section(StringBuilder page, KernelTable table, KernelFamily family, IReadOnlyList<string> absent)
    {
        KernelEntry[] entries = [.. table.Entries.Where(e => e.Family == family.Name && !absent.Contains(e.Side))];
        if (entries.Length == 0) return;
        string[] sides = [.. KernelSide.Names.Where(n => entries.Any(e => e.Side == n))];
        page.Append($"\n## {family.Title}\n");
        if (Plot(table, family) is not null) page.Append($"\n![{family.Title}, {family.Unit}]({family.Name}.svg)\n");
        page.Append($"\n| op, sizes; {family.Unit} | {string.Join(" | ", sides)} |\n|---|{string.Concat(Enumerable.Repeat("---|", sides.Length))}\n");
        foreach (IGrouping<string, KernelEntry> row in entries.GroupBy(e => e.Case))
        {
            double? baseline = row.FirstOrDefault(e => e.Side == KernelSide.Baseline)?.MedianNs;
            page.Append($"| {row.Key} | {string.Join(" | ", sides.Select(s => Cell(row.FirstOrDefault(e => e.Side == s), baseline)))} |\n");
        }

        foreach (IGrouping<(string Side, string? Reason), KernelEntry> dash in entries.Where(e => e.MedianNs is null).GroupBy(e => (e.Side, e.Reason)))
            page.Append($"\n–, `{dash.Key.Side}`: {dash.Key.Reason} ({string.Join(", ", dash.Select(e => e.Case))}).\n");
    }

    private static string Cell(KernelEntry? entry, double? baseline)
    {
        if (entry is null) return "";
        if (entry.MedianNs is not { } ns) return "–";
        string share = entry.Share is { } of ? $", {(of * 100).ToString("F0", CultureInfo.InvariantCulture)} %" : "";
        string ratio = baseline is { } other && entry.Side != KernelSide.Baseline ? $", **{Number(other / ns)}×**" : "";
        return $"{Time(ns)}, {Number(entry.Rate!.Value)}{share}{ratio}";
    }

    private static void Binding(StringBuilder page, KernelTable table)
    {
        string[] lines = [.. BindingCost.Lines(table, [.. table.Entries.Select(e => e.Case)], onlyShort: true)];
        if (lines.Length == 0) return;
        page.Append("\n## The cost of the binding\n\nThe same calls from C++ by `ftc_kernel_bench`: the time under .NET less the time there. Each of them, long ones too, stands in `kernels.json`.\n\n```\n");
        foreach (string line in lines) page.Append(line).Append('\n');
        page.Append("```\n");
    }

    private static void Sides(StringBuilder page, KernelTable table)
    {
        page.Append("\n## What ran\n\n| side | version | device | peak, GFLOP/s fp32 | bf16 | copy, GB/s | commit | measured |\n|---|---|---|---|---|---|---|---|\n");
        foreach (KernelSideInfo side in table.Sides)
        {
            KernelEntry[] own = [.. table.Entries.Where(e => e.Side == side.Side)];
            string Peak(double? value) => value is { } peak ? Number(peak) : "–";
            page.Append($"| {side.Side} | {side.Version} | {side.Device}, {side.Isa} | {Peak(side.PeakGflops)} | {Peak(side.PeakBf16Gflops)} | {Number(side.CopyGbs)} | {string.Join(", ", own.Select(e => e.Commit).Distinct())} | {string.Join(", ", own.Select(e => e.Date).Distinct().Order())} |\n");
        }

        page.Append($"\n{table.Cpu}; {Machine.InstructionSets}. Last command: `{table.Command}`.\n");
    }
}
