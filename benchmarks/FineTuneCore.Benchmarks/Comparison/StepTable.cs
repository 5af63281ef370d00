using System.Text.Json.Nodes;

namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>The LoRA training step, ours against the tuned peer, for each instruction set, precision and number of threads.</summary>
internal sealed class StepTable(Session session)
{
    internal const string List = "lora-step.json";
    internal const string Steps = "--steps 8 --warmup 3";

    /// <summary>What a step is measured in.</summary>
    internal static readonly IReadOnlyList<(string Isa, string Precision)> Kinds = [("avx512", "fp32"), ("avx2", "fp32"), ("avx512bf16", "bf16")];

    private const int Peer = 0;
    private const int Ours = 1;

    private IReadOnlyList<double>? _fp32Losses;

    internal Table Run()
    {
        var table = new Table("lora-step-run");
        foreach ((string isa, string precision) in Kinds)
        {
            foreach (int threads in (int[])[1, 2])
            {
                string row = $"{precision} {isa}, {Threads(threads)}";
                table.Add(session, row, () => Row(table, row, isa, precision, threads));
            }
        }

        table.Save(session);
        Table.Save(session, List, new JsonArray([.. table.Rows.Select(row => Summary(row!.AsObject()))]));
        return table;
    }

    internal static string Threads(int threads) => threads == 1 ? "1 thread" : $"{threads} threads";

    /// <summary>Whether this machine can run a row at all.</summary>
    /// <exception cref="RefusedException">It cannot; the message says why.</exception>
    internal static void CheckMachine(string isa, int threads)
    {
        string flag = isa switch { "avx2" => "avx2", "avx512" => "avx512f", _ => "avx512_bf16" };
        if (!Machine.Has(flag)) throw new RefusedException($"this CPU has no {flag}");
        if (threads > Environment.ProcessorCount) throw new RefusedException($"this machine has {Environment.ProcessorCount} CPUs");
    }

    private JsonObject Row(Table table, string name, string isa, string precision, int threads)
    {
        CheckMachine(isa, threads);
        string arguments = $"step --precision {precision} --threads {threads} {Steps}";
        // What this library does not do yet is known in a second; the peer would take twenty.
        if (precision == "bf16") MeasuringProcess.RunOurs("step --precision bf16 --steps 1 --warmup 1", isa);
        Pairs pairs = session.Pairs.Run(name, () => MeasuringProcess.RunPeer(arguments), () => MeasuringProcess.RunOurs(arguments, isa));
        foreach (Measurement[] pair in pairs.Quiet) Check(name, precision, pair[0].Losses, pair[1].Losses);
        table.Note(pairs);
        if (precision == "fp32") _fp32Losses = pairs.Quiet[0][1].Losses;
        return Numbers(pairs, isa, precision, threads);
    }

    private void Check(string name, string precision, IReadOnlyList<double> peer, IReadOnlyList<double> ours)
    {
        if (precision == "fp32")
        {
            LossCheck.AgainstTable($"{name}, peer", peer);
            LossCheck.AgainstTable(name, ours);
            LossCheck.Against(name, ours, peer, LossCheck.Fp32Tolerance);
            return;
        }

        _fp32Losses ??= MeasuringProcess.RunOurs($"step --precision fp32 {Steps}", "avx2").Losses;
        LossCheck.AgainstTable("the fp32 run that bf16 is held against", _fp32Losses);
        LossCheck.Against($"{name}, peer", peer, _fp32Losses, LossCheck.Bf16Tolerance);
        LossCheck.Against(name, ours, _fp32Losses, LossCheck.Bf16Tolerance);
    }

    private JsonObject Numbers(Pairs pairs, string isa, string precision, int threads)
    {
        // The ratio of two rates is that of two times, of one pair; memory is the worst of ours against the best of the peer's.
        double[] ratios = pairs.Ratios(Peer, Ours, m => m.MedianMilliseconds);
        JsonArray Each(int side, Func<Measurement, double> number) => new([.. pairs.Quiet.Select(round => JsonValue.Create(number(round[side])))]);
        double peak = pairs.Peak(Ours), milliseconds = pairs.Median(Ours, m => m.MedianMilliseconds);
        return new JsonObject
        {
            ["isa"] = isa, ["precision"] = precision, ["threads"] = threads, ["pairs"] = pairs.Quiet.Count, ["dropped"] = pairs.Dropped,
            ["ours_tokens_per_s"] = Math.Round(pairs.Median(Ours, m => m.TokensPerSecond), 1),
            ["peer_tokens_per_s"] = Math.Round(pairs.Median(Peer, m => m.TokensPerSecond), 1),
            ["ratio_median"] = Math.Round(Statistics.Median(ratios), 3), ["ratio_min"] = Math.Round(ratios.Min(), 3), ["ratio_max"] = Math.Round(ratios.Max(), 3),
            ["ours_peak_mb"] = pairs.Quiet.Max(round => round[Ours].PeakMegabytes), ["peer_peak_mb"] = pairs.Quiet.Min(round => round[Peer].PeakMegabytes),
            ["cpu"] = session.Cpu, ["commit"] = session.Commit, ["date"] = session.Date,
            ["ours_ms"] = Each(Ours, m => m.MedianMilliseconds), ["peer_ms"] = Each(Peer, m => m.MedianMilliseconds),
            ["ours_other_cores"] = Each(Ours, m => m.OtherCores), ["peer_other_cores"] = Each(Peer, m => m.OtherCores),
            ["ours_first_step_s"] = pairs.Median(Ours, m => (double)m.End["first_step_s"]!),
            ["peer_first_step_s"] = pairs.Median(Peer, m => (double)m.End["first_step_s"]!),
            ["peak_gflops"] = peak, ["share_of_peak"] = Math.Round(LoraStep.Gigaflop / (milliseconds / 1e3) / peak, 3),
            ["largest_loss_difference"] = pairs.Quiet.Max(round => round[Peer].Losses.Zip(round[Ours].Losses, (a, b) => Math.Round(Math.Abs(a - b), 6)).Max()),
        };
    }

    /// <summary>The keys that the list is checked by.</summary>
    private static JsonObject Summary(JsonObject row)
    {
        string[] keys =
        [
            "isa", "precision", "threads", "pairs", "dropped", "ours_tokens_per_s", "peer_tokens_per_s", "ratio_median", "ratio_min", "ratio_max", "ours_peak_mb",
            "peer_peak_mb", "cpu", "commit", "date",
        ];
        var summary = new JsonObject();
        foreach (string key in keys) summary[key] = row[key]!.DeepClone();
        return summary;
    }
}
