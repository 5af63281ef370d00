using System.Diagnostics;
using System.Text.Json.Nodes;

namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>Another process that is busy with one core, on purpose.</summary>
internal sealed class BusyNeighbour : IDisposable
{
    private readonly Process _process =
        Process.Start(new ProcessStartInfo("dotnet", $"\"{typeof(BusyNeighbour).Assembly.Location}\" spin") { RedirectStandardInput = true })!;

    internal int Id => _process.Id;

    public void Dispose()
    {
        _process.StandardInput.Close();
        _process.WaitForExit();
        _process.Dispose();
    }
}

/// <summary>
/// The step with 2 threads while one other process is busy: ours against its own quiet time, and against the peer whose threads sleep at barriers,
/// which is its better setting here.
/// </summary>
internal sealed class BusyTable(Session session)
{
    private const int OursQuiet = 0;
    private const int PeerBusy = 1;
    private const int OursBusy = 2;

    internal Table Run()
    {
        var table = new Table("busy");
        string isa = Machine.Has("avx512f") ? "avx512" : "avx2";
        table.Add(session, $"busy, fp32 {isa}, 2 threads", () => Row(table, isa));
        table.Save(session);
        return table;
    }

    private JsonObject Row(Table table, string isa)
    {
        StepTable.CheckMachine(isa, 2);
        string arguments = $"step --precision fp32 --threads 2 {StepTable.Steps}";
        Pairs rounds = session.Pairs.Run(
            "busy machine", () => MeasuringProcess.RunOurs(arguments, isa), () => Busy(id => MeasuringProcess.RunPeer($"{arguments} --neighbour {id}", passive: true)),
            () => Busy(id => MeasuringProcess.RunOurs($"{arguments} --neighbour {id}", isa)));
        table.Note(rounds);
        foreach (Measurement[] round in rounds.Quiet)
            LossCheck.Against("busy machine", round[OursBusy].Losses, round[PeerBusy].Losses, LossCheck.Fp32Tolerance);
        double[] slower = rounds.Ratios(OursBusy, OursQuiet, m => m.MedianMilliseconds), faster = rounds.Ratios(PeerBusy, OursBusy, m => m.MedianMilliseconds);
        return new JsonObject
        {
            ["isa"] = isa, ["precision"] = "fp32", ["threads"] = 2, ["pairs"] = rounds.Quiet.Count, ["dropped"] = rounds.Dropped,
            ["ours_quiet_ms"] = rounds.Median(OursQuiet, m => m.MedianMilliseconds), ["ours_busy_ms"] = rounds.Median(OursBusy, m => m.MedianMilliseconds),
            ["peer_passive_busy_ms"] = rounds.Median(PeerBusy, m => m.MedianMilliseconds),
            ["busy_over_quiet_median"] = Math.Round(Statistics.Median(slower), 3), ["busy_over_quiet_max"] = Math.Round(slower.Max(), 3),
            ["peer_over_ours_median"] = Math.Round(Statistics.Median(faster), 3), ["peer_over_ours_min"] = Math.Round(faster.Min(), 3),
        };
    }

    private static Measurement Busy(Func<int, Measurement> run)
    {
        using var neighbour = new BusyNeighbour();
        return run(neighbour.Id);
    }
}
