using System.Diagnostics;
using System.Text.Json.Nodes;

namespace FineTuneCore.Benchmarks.Comparison.Kernels;

/// <summary>One run over some sides: starts their processes, runs again what had company, and gathers entries.</summary>
internal sealed class KernelSession(Session session, IReadOnlyList<KernelSideInfo> known)
{
    /// <summary>The reason when the machine was not quiet.</summary>
    internal const string NoResult = "no result, other processes were busy";

    /// <summary>Fewer bytes than this may lie in a cache, which is faster than the memory that a share is of.</summary>
    private const double CachedGigabytes = 0.064;

    private const int Attempts = 3;

    private readonly List<KernelSideInfo> _infos = [];
    private readonly List<(KernelOp Op, KernelEntry Entry)> _entries = [];

    internal IReadOnlyList<KernelSideInfo> Infos => _infos;

    /// <summary>Results that are not what their formula says, and processes that fell over.</summary>
    internal int Wrong { get; private set; }

    internal static IEnumerable<string> Keys(KernelSide side, IEnumerable<KernelOp> ops) => ops.Where(o => o.IsBf16 || !side.OnlyBf16).Select(o => o.Key);

    /// <summary>What was measured, with rates and shares of the roofs that all sides together know.</summary>
    internal IReadOnlyList<KernelEntry> Entries() => [.. _entries.Select(e => WithRate(e.Op, e.Entry))];

    internal void Measure(KernelSide side, IReadOnlyList<KernelOp> ops)
    {
        Dictionary<string, KernelOp> wanted = Keys(side, ops).ToDictionary(k => k, k => ops.Single(o => o.Key == k));
        if (wanted.Count == 0) return;
        Dictionary<string, JsonObject> rows = [];
        if (side.Missing is { } missing)
        {
            Note(side, wanted, missing, rows);
            return;
        }

        string log = Path.Combine("artifacts", "bench", $"side-{side.Name}.log");
        string? problem = Repeat(side.Name, wanted, rows, keys => KernelProcess.Run(
            MeasuringProcess.StartInfo(side.Host, $"{side.Arguments} --log {log}", side.Environment), keys, (line, _) => Take(side, wanted, rows, line)));
        if (problem is not null) Note(side, wanted, problem, rows);
        Dictionary<string, JsonObject> native = side.Isa is null || problem is not null ? [] : Native(side, wanted, rows);
        foreach ((string key, JsonObject row) in rows)
        {
            KernelEntry entry = Blank(side, wanted[key]);
            bool isRow = (string)row["event"]! == "row";
            _entries.Add((wanted[key], isRow
                ? entry with { MedianNs = Digits((double)row["median_ns"]!), ErrorNs = Digits((double)row["error_ns"]!), NativeNs = native.TryGetValue(key, out JsonObject? n) ? Digits((double)n["median_ns"]!) : null }
                : entry with { Reason = (string)row["reason"]! }));
        }
    }

    /// <summary>The same cases without .NET.</summary>
    private Dictionary<string, JsonObject> Native(KernelSide side, Dictionary<string, KernelOp> wanted, Dictionary<string, JsonObject> rows)
    {
        string program = Path.Combine("native", "build", "release", "ftc_kernel_bench");
        if (!File.Exists(program))
        {
            session.Report($"{side.Name}: no times without .NET, {program} is not built");
            return [];
        }

        Dictionary<string, KernelOp> timed = wanted.Where(w => rows.TryGetValue(w.Key, out JsonObject? row) && (string)row["event"]! == "row").ToDictionary();
        Dictionary<string, JsonObject> native = [];
        string? problem = Repeat($"{side.Name} without .NET", timed, native, keys => KernelProcess.Run(
            MeasuringProcess.StartInfo(program, "", side.Environment), keys, (line, others) =>
            {
                if (line["key"] is null) return;
                line["other_cores"] = others;
                native[(string)line["key"]!] = line;
            }));
        if (problem is not null) session.Report($"{side.Name} without .NET: {problem}");
        return native.Where(n => (string)n.Value["event"]! == "row").ToDictionary();
    }

    /// <summary>Runs cases until each was quiet once, three times at most; what never was is a reason then.</summary>
    private string? Repeat(string name, Dictionary<string, KernelOp> wanted, Dictionary<string, JsonObject> rows, Func<IEnumerable<string>, KernelProcessEnd> run)
    {
        string[] left = [.. wanted.Keys];
        string? problem = null;
        for (int attempt = 0; attempt < Attempts && left.Length > 0 && problem is null; attempt++)
        {
            if (attempt > 0) session.Report($"{name}: {left.Length} cases again, other processes were busy");
            KernelProcessEnd end = run(left);
            problem = end.Problem;
            if (end.IsBroken) Wrong++;
            left = [.. left.Where(key => rows.TryGetValue(key, out JsonObject? row) && IsLoud(row))];
        }

        foreach (string key in left) rows[key] = new JsonObject { ["event"] = "loud", ["reason"] = NoResult };
        return problem;
    }

    private bool IsLoud(JsonObject row) => !session.AllowLoad && (string)row["event"]! == "row" && (double)row["other_cores"]! > StrictPairs.MostOtherCores;

    private void Take(KernelSide side, Dictionary<string, KernelOp> wanted, Dictionary<string, JsonObject> rows, JsonObject line)
    {
        switch ((string)line["event"]!)
        {
            case "start":
                // A side that runs again measures its roofs again: the highest counts, as a neighbour lowers them.
                KernelSideInfo? before = _infos.Find(i => i.Side == side.Name);
                double? Roof(string key, double? earlier) => (double?)line[key] is { } now ? Math.Max(now, earlier ?? 0) : null;
                _infos.RemoveAll(i => i.Side == side.Name);
                _infos.Add(new KernelSideInfo(
                    side.Name, (string)line["version"]!, (string)line["device"]!, (string)line["isa"]!, Roof("peak_gflops", before?.PeakGflops),
                    Roof("peak_bf16_gflops", before?.PeakBf16Gflops), Roof("copy_gbs", before?.CopyGbs)!.Value, (bool)line["on_cpu"]!));
                session.Report($"{side.Name}: {line["version"]}, {line["device"]}, {line["isa"]}");
                break;
            case "row":
                KernelOp op = wanted[(string)line["key"]!];
                double ns = (double)line["median_ns"]!;
                rows[op.Key] = line;
                session.Report($"{side.Name,-10} {op.Key,-42} {KernelPage.Time(ns),9} {KernelPage.Number(op.Work / ns * 1e9),6} {op.Family.Unit}{(IsLoud(line) ? $"  ({line["other_cores"]} cores busy elsewhere)" : "")}");
                break;
            case "absent" or "wrong":
                rows[(string)line["key"]!] = line;
                bool isWrong = (string)line["event"]! == "wrong";
                if (isWrong) Wrong++;
                session.Report($"{side.Name,-10} {line["key"]}: {(isWrong ? "WRONG, " : "")}{line["reason"]}");
                break;
        }
    }

    /// <summary>Every case that has no row yet gets the reason.</summary>
    private void Note(KernelSide side, Dictionary<string, KernelOp> wanted, string reason, Dictionary<string, JsonObject> rows)
    {
        session.Report($"{side.Name}: {reason}");
        foreach ((string key, KernelOp op) in wanted.Where(w => !rows.ContainsKey(w.Key))) _entries.Add((op, Blank(side, op) with { Reason = reason }));
    }

    private KernelEntry Blank(KernelSide side, KernelOp op) => new() { Case = op.Key, Family = op.Family.Name, Side = side.Name, Commit = session.Commit, Date = session.Date };

    private KernelEntry WithRate(KernelOp op, KernelEntry entry)
    {
        if (entry.MedianNs is not { } ns) return entry;
        double rate = op.Work / ns * 1e9;
        double? roof = op.Family.IsArithmetic ? Peak(entry.Side, op.IsBf16) : op.Work < CachedGigabytes ? null : Info(entry.Side)?.CopyGbs;
        return entry with { Rate = Digits(rate), Share = roof is { } of ? Math.Round(rate / of, 3) : null };
    }

    /// <summary>Of the side itself; a side that cannot measure it runs on this CPU, whose widest instruction set's counts.</summary>
    private double? Peak(string side, bool bf16)
    {
        double? Of(KernelSideInfo info) => bf16 ? info.PeakBf16Gflops : info.PeakGflops;
        KernelSideInfo? own = Info(side);
        return own is null ? null : Of(own) ?? (own.OnCpu ? _infos.Concat(known).Where(i => i.OnCpu).Select(Of).Max() : null);
    }

    private KernelSideInfo? Info(string side) => _infos.Concat(known).FirstOrDefault(i => i.Side == side);

    /// <summary>Four digits: more are noise, and change the file for nothing.</summary>
    private static double Digits(double value) => value == 0 ? 0 : double.Parse(value.ToString("G4", System.Globalization.CultureInfo.InvariantCulture), System.Globalization.CultureInfo.InvariantCulture);
}
