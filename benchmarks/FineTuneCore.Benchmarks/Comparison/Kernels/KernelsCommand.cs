using System.Diagnostics;
using FineTuneCore.Benchmarks.Kernels;
using FineTuneCore.Files;

namespace FineTuneCore.Benchmarks.Comparison.Kernels;

/// <summary>
/// Times every op on every side of this machine, each side a process of its own, one thread each: FineTuneCore.Benchmarks ops [--filter PATTERN …]
/// [--sides NAME …] [--check] [--list] [--ocl-prefix FOLDER] [--allow-load].
/// </summary>
internal static class KernelsCommand
{
    /// <summary>Results of a machine and what is made of them.</summary>
    private const string Folder = "kernels", Data = "kernels.json", Page = "README.md";

    internal static int Run(Arguments arguments)
    {
        var filter = new KernelFilter(arguments.All("filter"));
        string[] wantedSides = [.. arguments.All("sides")];
        bool check = arguments.Has("check"), list = arguments.Has("list");
        string prefix = arguments.Text("ocl-prefix", "");
        var session = new Session
        {
            PairCount = 1, AllowLoad = arguments.Has("allow-load"),
            Command = $"./build.sh bench ops{Option(arguments, "filter")}{Option(arguments, "sides")}{(arguments.Has("allow-load") ? " --allow-load" : "")}",
        };
        arguments.RefuseOthers();
        KernelOp[] all = [.. KernelOp.All()];
        KernelOp[] chosen = [.. all.Where(o => filter.Takes(o.Op, o.Method))];
        if (chosen.Length == 0)
            throw new ArgumentException($"--filter {string.Join(' ', arguments.All("filter"))} matches no op, expected some of {string.Join(", ", all.Select(o => o.Op).Distinct())}");
        if (wantedSides.Except(KernelSide.Names).FirstOrDefault() is { } unknown)
            throw new ArgumentException($"--sides names '{unknown}', expected some of {string.Join(", ", KernelSide.Names)}");
        KernelSide[] sides = [.. KernelSide.All(prefix.Length > 0 ? Path.GetFullPath(prefix) : null).Where(s => wantedSides.Length == 0 || wantedSides.Contains(s.Name))];
        if (list)
        {
            foreach (KernelOp op in chosen) Console.WriteLine(op.Key);
            return 0;
        }

        return check ? Check(session, sides, chosen) : Measure(session, sides, all, chosen);
    }

    private static string Option(Arguments arguments, string name) => arguments.Has(name) ? $" --{name} {string.Join(' ', arguments.All(name).Select(v => v.Contains('*') || v.Contains('?') ? $"'{v}'" : v))}" : "";

    /// <summary>Proves results on every side, and times nothing.</summary>
    private static int Check(Session session, IReadOnlyList<KernelSide> sides, IReadOnlyList<KernelOp> ops)
    {
        int right = 0, wrong = 0;
        foreach (KernelSide side in sides)
        {
            int before = right;
            if (side.Missing is not null)
            {
                session.Report($"{side.Name}: skipped, {side.Missing}");
                continue;
            }

            KernelProcessEnd end = KernelProcess.Run(MeasuringProcess.StartInfo(side.Host, $"{side.Arguments} --check", side.Environment), KernelSession.Keys(side, ops), (line, _) =>
            {
                string kind = (string)line["event"]!;
                if (kind == "right") right++;
                if (kind == "wrong") wrong++;
                if (kind is "wrong" or "absent") session.Report($"{side.Name} {line["key"]}: {(kind == "wrong" ? "WRONG, " : "not there, ")}{line["reason"]}");
            });
            if (end.IsBroken) wrong++;
            session.Report($"{side.Name}: {right - before} cases right{(end.Problem is null ? "" : $"; {end.Problem}")}");
        }

        session.Report($"{right} right, {wrong} wrong");
        return wrong == 0 && right > 0 ? 0 : 1;
    }

    private static int Measure(Session session, IReadOnlyList<KernelSide> sides, IReadOnlyList<KernelOp> all, IReadOnlyList<KernelOp> chosen)
    {
        if (session.AllowLoad) session.Report("NOT A RESULT: with --allow-load whatever else the machine does is let pass");
        long start = Stopwatch.GetTimestamp();
        string folder = Path.Combine(session.Results, Folder);
        KernelTable old = KernelTable.Read(Path.Combine(folder, Data), session.Cpu) with { Command = session.Command }, table = old;
        var run = new KernelSession(session, old.Sides);
        foreach (KernelSide side in sides)
        {
            run.Measure(side, chosen);
            table = old.With(run.Entries(), run.Infos, [.. all.Select(o => o.Key)]);
            Write(table, folder, session.AllowLoad);
        }

        foreach (string line in BindingCost.Lines(table, [.. chosen.Select(o => o.Key)])) Console.WriteLine(line);
        IReadOnlyList<KernelEntry> entries = run.Entries();
        int measured = entries.Count(e => e.MedianNs is not null), loud = entries.Count(e => e.Reason == KernelSession.NoResult);
        session.Report(
            $"{(session.AllowLoad ? "NOT A RESULT, " : "")}{folder}: {measured} results, {loud} without because other processes were busy, {run.Wrong} wrong, {Stopwatch.GetElapsedTime(start).TotalMinutes:F1} minutes");
        return run.Wrong == 0 && loud == 0 && measured > 0 ? 0 : CpuCommand.NoResult;
    }

    /// <summary>After every side: a run that is ended early leaves what it has.</summary>
    private static void Write(KernelTable table, string folder, bool notAResult)
    {
        Directory.CreateDirectory(folder);
        AtomicFile.WriteText(Path.Combine(folder, Data), table.ToJson());
        AtomicFile.WriteText(Path.Combine(folder, Page), KernelPage.Write(table, notAResult));
        foreach (KernelFamily family in KernelFamily.All)
            if (KernelPage.Plot(table, family) is { } plot) AtomicFile.WriteText(Path.Combine(folder, $"{family.Name}.svg"), plot);
    }
}
