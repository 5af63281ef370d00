using System.Text.Json.Nodes;

namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>Products with frozen weights: fp32, NF4 and bf16 of ours, fp32 and bf16 of the peer, each process all shapes, with 1 and 2 threads.</summary>
internal sealed class MatmulTable(Session session)
{
    private const int Peer = 0;

    /// <summary>Processes of ours in a round: instruction set and what it computes in.</summary>
    private static readonly (string Isa, string Precision)[] Kinds = [("avx512", "fp32"), ("avx2", "fp32"), ("avx512bf16", "bf16")];

    internal Table Run()
    {
        var table = new Table("matmul");
        foreach (int threads in (int[])[1, 2]) Measure(table, threads);
        table.Save(session);
        return table;
    }

    private void Measure(Table table, int threads)
    {
        string arguments = $"matmul --threads {threads} --row-ms 60";
        string[] isas = Usable(table, ProductRows.Available(table, Kinds.Select(k => k.Isa), threads), threads);
        if (isas.Length == 0) return;
        // Without instructions for bf16 the peer takes over ten minutes for its products, and nothing is compared with them.
        string peers = isas.Any(isa => PrecisionOf(isa) == "bf16") ? "both" : "fp32";
        try
        {
            Pairs rounds = session.Pairs.Run(
                $"matmul, {StepTable.Threads(threads)}",
                [() => MeasuringProcess.RunPeerProducts($"{arguments} --precision {peers}"), .. isas.Select(isa => (Func<Measurement>)(() => MeasuringProcess.RunOurProducts($"{arguments} --precision {PrecisionOf(isa)}", isa)))]);
            table.Note(rounds);
            for (int i = 0; i < isas.Length; i++)
                foreach (JsonObject line in rounds.Quiet[0][1 + i].Lines) table.Add(session, "a product", () => Row(rounds, isas[i], 1 + i, threads, line));
        }
        catch (NoResultException e)
        {
            table.NoResult.Add(e.Message);
            session.Report(e.Message);
        }
    }

    /// <summary>Leaves out what the library does not compute yet, before the peer has run.</summary>
    private static string[] Usable(Table table, string[] isas, int threads)
    {
        var usable = new List<string>();
        foreach (string isa in isas)
        {
            try
            {
                if (PrecisionOf(isa) == "bf16") MeasuringProcess.RunOurProducts("nf4 --row-ms 1", isa);
                usable.Add(isa);
            }
            catch (RefusedException e)
            {
                table.Waiting.Add(new JsonObject { ["row"] = $"{isa}, {StepTable.Threads(threads)}", ["reason"] = e.Message });
            }
        }

        return [.. usable];
    }

    private static string PrecisionOf(string isa) => Kinds.Single(k => k.Isa == isa).Precision;

    private static JsonObject Row(Pairs rounds, string isa, int side, int threads, JsonObject line)
    {
        string format = (string)line["format"]!, direction = (string)line["direction"]!;
        int n = (int)line["n"]!, k = (int)line["k"]!, m = (int)line["m"]!;
        string name = $"{format} {direction} {n}x{k} M={m}, {isa}";
        JsonObject In(Measurement measurement, string wanted) =>
            ProductRows.Rows(measurement, ("format", wanted), ("direction", direction), ("n", n), ("k", k), ("m", m)).Single();
        double Ours(Measurement[] round) => ProductRows.Milliseconds(In(round[side], format));
        // NF4 is held against our own fp32; what the peer makes of NF4 is another table.
        double Other(Measurement[] round) => ProductRows.Milliseconds(format == "nf4" ? In(round[side], "fp32") : In(round[Peer], format));
        foreach (Measurement[] round in rounds.Quiet)
        {
            if (format != "nf4") ProductRows.CheckSame(name, In(round[side], format), In(round[Peer], format), format == "bf16");
            else if (!(bool)In(round[side], format)["as_dequantised"]!) throw new NoResultException($"{name}: no result, other bits than with the dequantised weight");
        }

        double[] ratios = [.. rounds.Quiet.Select(round => Other(round) / Ours(round))];
        double OverOneThread(Measurement[] round) => (double)In(round[side], format)["one_thread_ms"]! / Ours(round);
        double milliseconds = Statistics.Median(rounds.Quiet.Select(Ours)), gflops = Shapes.Gigaflops(m, n, k, milliseconds);
        return new JsonObject
        {
            ["isa"] = isa, ["format"] = format, ["threads"] = threads, ["direction"] = direction, ["n"] = n, ["k"] = k, ["m"] = m,
            ["ours_gflops"] = Math.Round(gflops, 1),
            [format == "nf4" ? "own_fp32_gflops" : "peer_gflops"] = Math.Round(Shapes.Gigaflops(m, n, k, Statistics.Median(rounds.Quiet.Select(Other))), 1),
            ["ratio_median"] = Math.Round(Statistics.Median(ratios), 3), ["ratio_min"] = Math.Round(ratios.Min(), 3), ["ratio_max"] = Math.Round(ratios.Max(), 3),
            ["share_of_peak"] = Math.Round(Statistics.Median(rounds.Quiet.Select(round => ProductRows.ShareOfPeak(In(round[side], format)))), 3),
            ["over_one_thread"] = line["one_thread_ms"] is null ? null : Math.Round(Statistics.Median(rounds.Quiet.Select(OverOneThread)), 3),
            ["pairs"] = rounds.Quiet.Count, ["dropped"] = rounds.Dropped,
        };
    }
}
