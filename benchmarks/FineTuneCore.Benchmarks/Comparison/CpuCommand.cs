namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>The comparison with the peer: FineTuneCore.Benchmarks cpu [--rows step,busy,qlora,nf4,matmul] [--pairs N] [--allow-load].</summary>
internal static class CpuCommand
{
    internal const int NoResult = 1;
    private static readonly string[] Parts = ["step", "busy", "qlora", "nf4", "matmul"];

    internal static int Run(Arguments arguments)
    {
        string[] rows = arguments.Text("rows", string.Join(',', Parts)).Split(',');
        if (rows.Except(Parts).FirstOrDefault() is { } unknown) throw new ArgumentException($"--rows names '{unknown}', expected some of {string.Join(',', Parts)}");
        var session = new Session
        {
            PairCount = arguments.Number("pairs", 5), AllowLoad = arguments.Has("allow-load"),
            Command = $"./build.sh bench cpu{(rows.Length == Parts.Length ? "" : $" --rows {string.Join(',', rows)}")}{(arguments.Has("pairs") ? $" --pairs {arguments.Text("pairs", "")}" : "")}{(arguments.Has("allow-load") ? " --allow-load" : "")}",
        };
        arguments.RefuseOthers();
        if (session.AllowLoad) session.Report("NOT A RESULT: with --allow-load whatever else the machine does is let pass");
        List<Table> tables = [];
        foreach (string part in rows)
        {
            tables.Add(Measure(part, session));
            Report.Write(session.Results, session.AllowLoad);
        }

        string what = string.Join(", ", tables.Select(t => $"{t.Name} {t.Rows.Count} rows, {t.Waiting.Count} waiting, {t.NoResult.Count} without result"));
        session.Report($"{(session.AllowLoad ? "NOT A RESULT, " : "")}{session.Results}: {what}");
        return tables.Any(t => t.NoResult.Count > 0) ? NoResult : 0;
    }

    private static Table Measure(string part, Session session) => part switch
    {
        "step" => new StepTable(session).Run(),
        "busy" => new BusyTable(session).Run(),
        "qlora" => new QloraTable(session).Run(),
        "nf4" => new Nf4Table(session).Run(),
        "matmul" => new MatmulTable(session).Run(),
        _ => throw new ArgumentException(part),
    };
}
