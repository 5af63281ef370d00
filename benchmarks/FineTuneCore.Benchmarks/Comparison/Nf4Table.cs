using System.Text.Json.Nodes;

namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>A linear layer over a 4096 × 4096 NF4 weight, 1 thread, forward: ours against the better of the peer's two ways to dequantise and multiply.</summary>
internal sealed class Nf4Table(Session session)
{
    private const int Peer = 0;
    private const string Arguments = "nf4 --threads 1 --row-ms 400";

    internal Table Run()
    {
        var table = new Table("nf4");
        string[] isas = ProductRows.Available(table, ["avx512", "avx2"], 1);
        Pairs? rounds = null;
        table.Add(session, "nf4", () =>
        {
            rounds = session.Pairs.Run(
                "nf4", [() => MeasuringProcess.RunPeerProducts(Arguments), .. isas.Select(isa => (Func<Measurement>)(() => MeasuringProcess.RunOurProducts(Arguments, isa)))]);
            return Row(rounds, isas, 0, Shapes.Nf4Rows[0]);
        });
        if (rounds is not null)
        {
            table.Note(rounds);
            for (int i = 0; i < isas.Length; i++)
                foreach (int m in Shapes.Nf4Rows.Skip(i == 0 ? 1 : 0)) table.Add(session, $"nf4 {isas[i]} M={m}", () => Row(rounds, isas, i, m));
        }

        table.Save(session);
        return table;
    }

    private static JsonObject Row(Pairs rounds, string[] isas, int isa, int m)
    {
        int ours = 1 + isa;
        JsonObject OurRow(Measurement[] round) => ProductRows.Rows(round[ours], ("m", m)).Single();
        double Ours(Measurement[] round) => ProductRows.Milliseconds(OurRow(round));
        double Best(Measurement[] round) => ProductRows.Rows(round[Peer], ("m", m)).Min(ProductRows.Milliseconds);
        foreach (Measurement[] round in rounds.Quiet)
            ProductRows.CheckSame($"nf4 {isas[isa]} M={m}", OurRow(round), ProductRows.Rows(round[Peer], ("m", m)).First(), bf16: false);
        double[] ratios = [.. rounds.Quiet.Select(round => Best(round) / Ours(round))];
        double milliseconds = Statistics.Median(rounds.Quiet.Select(Ours));
        double gflops = Shapes.Gigaflops(m, Shapes.Nf4Size, Shapes.Nf4Size, milliseconds);
        return new JsonObject
        {
            ["isa"] = isas[isa], ["threads"] = 1, ["m"] = m, ["pairs"] = rounds.Quiet.Count, ["dropped"] = rounds.Dropped, ["ours_ms"] = milliseconds,
            ["peer_ms"] = Statistics.Median(rounds.Quiet.Select(Best)), ["ratio_median"] = Math.Round(Statistics.Median(ratios), 3),
            ["ratio_min"] = Math.Round(ratios.Min(), 3), ["ratio_max"] = Math.Round(ratios.Max(), 3), ["ours_gflops"] = Math.Round(gflops, 1),
            ["share_of_peak"] = Math.Round(Statistics.Median(rounds.Quiet.Select(round => ProductRows.ShareOfPeak(OurRow(round)))), 3),
        };
    }
}
