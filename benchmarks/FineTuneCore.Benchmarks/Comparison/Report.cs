using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using FineTuneCore.Files;

namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>Writes the tables that lie in a machine's folder as one page, cpu.md, with a plot of the training step.</summary>
internal static class Report
{
    private const string Page = "cpu.md";
    private const string Plot = "lora-step.svg";

    internal static void Write(string folder, bool notAResult)
    {
        var page = new StringBuilder("# Against TorchSharp on the CPU\n");
        if (notAResult) page.Append("\n**Not a result**: the load of the machine was not looked at.\n");
        page.Append('\n').Append(
            """
            Made by `./build.sh bench cpu`; `benchmarks/README.md` says how to read it. A ratio is that of the two runs of one pair, peer, ours, peer, ours …,
            each in its own process; above 1 ours is faster. The peer runs with the malloc settings of a user who tunes it.

            """);
        foreach ((string file, Action<StringBuilder, JsonObject> section) in Sections)
        {
            string path = Path.Combine(folder, file);
            if (!File.Exists(path)) continue;
            JsonObject table = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
            section(page, table);
            Rest(page, table);
            if (file == "lora-step-run.json") AtomicFile.WriteText(Path.Combine(folder, Plot), StepPlot(table));
        }

        AtomicFile.WriteText(Path.Combine(folder, Page), page.ToString());
    }

    private static readonly (string File, Action<StringBuilder, JsonObject> Section)[] Sections =
        [("lora-step-run.json", Step), ("busy.json", Busy), ("qlora.json", Qlora), ("nf4.json", Nf4), ("matmul.json", Matmul)];

    private static void Step(StringBuilder page, JsonObject table)
    {
        page.Append("\n## The LoRA training step\n\n").Append(
            """
            One step of a 6-layer Llama (hidden size 576, vocabulary 8192, rank 16 on every linear layer) over 4 × 256 tokens, forward, loss, backward, AdamW.
            Losses of every step agree. Memory is the process' peak resident set, of ours the highest, of the peer's the lowest of all pairs.

            """);
        if (Rows(table).Any()) page.Append($"\n![Tokens per second, ours over the peer's]({Plot})\n");
        Table(
            page, table, "| precision | isa | threads | ours, tokens/s | peer, tokens/s | ratio (least … most) | ours, MB | peer, MB | memory | share of peak | pairs (dropped) |",
            r => $"| {r["precision"]} | {r["isa"]} | {r["threads"]} | {N(r, "ours_tokens_per_s", 0)} | {N(r, "peer_tokens_per_s", 0)} | {Ratio(r)} | {N(r, "ours_peak_mb", 0)} | {N(r, "peer_peak_mb", 0)} | {F((double)r["ours_peak_mb"]! / (double)r["peer_peak_mb"]!, 2)}× | {Percent(r)} | {Pairs(r)} |");
        Table(
            page, table, "| precision, isa, threads | ours, ms of each pair | peer, ms of each pair | first step after start, ours / peer | largest difference of losses |",
            r => $"| {r["precision"]}, {r["isa"]}, {r["threads"]} | {Each(r, "ours_ms")} | {Each(r, "peer_ms")} | {N(r, "ours_first_step_s", 2)} / {N(r, "peer_first_step_s", 2)} s | {((double)r["largest_loss_difference"]!).ToString("0.0e0", CultureInfo.InvariantCulture)} |");
    }

    private static void Busy(StringBuilder page, JsonObject table)
    {
        page.Append("\n## With a busy neighbour\n\nThe same step with 2 threads on 2 CPUs, one of which another process keeps busy. The peer's threads sleep at barriers (`OMP_WAIT_POLICY=passive`), its better setting here.\n");
        Table(
            page, table, "| isa | ours, quiet | ours, busy | peer, busy | ours, busy over quiet (most) | peer over ours (least) | pairs (dropped) |",
            r => $"| {r["isa"]} | {N(r, "ours_quiet_ms", 0)} ms | {N(r, "ours_busy_ms", 0)} ms | {N(r, "peer_passive_busy_ms", 0)} ms | {N(r, "busy_over_quiet_median", 2)}× ({N(r, "busy_over_quiet_max", 2)}) | {N(r, "peer_over_ours_median", 2)}× ({N(r, "peer_over_ours_min", 2)}) | {Pairs(r)} |");
    }

    private static void Qlora(StringBuilder page, JsonObject table)
    {
        page.Append("\n## QLoRA against our own LoRA\n\nThe same step over an NF4 base, decoded while it is packed.\n");
        Table(
            page, table, "| precision | isa | LoRA, tokens/s | QLoRA, tokens/s | ratio (least … most) | LoRA, MB | QLoRA, MB | pairs (dropped) |",
            r => $"| {r["precision"]} | {r["isa"]} | {N(r, "lora_tokens_per_s", 0)} | {N(r, "qlora_tokens_per_s", 0)} | {Ratio(r)} | {N(r, "lora_peak_mb", 0)} | {N(r, "qlora_peak_mb", 0)} | {Pairs(r)} |");
    }

    private static void Nf4(StringBuilder page, JsonObject table)
    {
        page.Append("\n## NF4 linear layer\n\n4096 × 4096, forward, 1 thread (CPU time), against dequantising the whole matrix and multiplying, the better of two ways.\n");
        Table(
            page, table, "| isa | M | ours, ms | peer, ms | ratio (least … most) | GFLOP/s | share of peak | pairs (dropped) |",
            r => $"| {r["isa"]} | {r["m"]} | {N(r, "ours_ms", 2)} | {N(r, "peer_ms", 2)} | {Ratio(r)} | {N(r, "ours_gflops", 0)} | {Percent(r)} | {Pairs(r)} |");
    }

    private static void Matmul(StringBuilder page, JsonObject table)
    {
        page.Append("\n## Products with frozen weights\n\n").Append(
            """
            y = x Wᵀ (forward) and dx = dy W (backward), W [N, K], GFLOP/s; in brackets the ratio to the peer, or for NF4 to our own fp32, whose product with
            the dequantised weight it equals to the bit. With 1 thread CPU time, with 2 wall time. The percentage is the share of the peak of multiply-adds,
            measured between the rounds of the product. The last figure, of many rows with 2 threads, is the speed-up over 1 thread, in rounds in turn.

            """);
        foreach (var group in Rows(table).GroupBy(r => (Isa: (string)r["isa"]!, Format: (string)r["format"]!, Threads: (int)r["threads"]!)))
        {
            page.Append($"\n{group.Key.Format}, {group.Key.Isa}, {StepTable.Threads(group.Key.Threads)}\n\n");
            page.Append($"| direction, N×K | {string.Join(" | ", Shapes.Rows.Select(m => $"M={m}"))} |\n|---|{string.Concat(Enumerable.Repeat("---|", Shapes.Rows.Count))}\n");
            foreach (var line in group.GroupBy(r => $"{r["direction"]} {r["n"]}×{r["k"]}"))
                page.Append($"| {line.Key} | {string.Join(" | ", line.Select(r => $"{N(r, "ours_gflops", 0)} ({N(r, "ratio_median", 2)}×) {Percent(r)}{OverOneThread(r)}"))} |\n");
        }
    }

    /// <summary>What waits, what came to nothing, and what the table was made from and with.</summary>
    private static void Rest(StringBuilder page, JsonObject table)
    {
        foreach (JsonNode? waiting in table["waiting"]!.AsArray()) page.Append($"\nWaiting: {waiting!["row"]}: {waiting["reason"]}\n");
        foreach (JsonNode? reason in table["no_result"]!.AsArray()) page.Append($"\nNo result: {reason}\n");
        string peaks = string.Join(", ", Rows(table).Where(r => r["peak_gflops"] is not null).Select(r => $"{r["precision"]} {r["isa"]} {StepTable.Threads((int)r["threads"]!)} {r["peak_gflops"]}"));
        page.Append($"\n{table["cpu"]}; {table["instruction_sets"]}. {table["ours"]}, commit {table["commit"]}; {table["peer"] ?? "no peer"}. {table["date"]}, `{table["command"]}`.");
        page.Append(peaks.Length == 0 ? "\n" : $" Measured peaks in GFLOP/s: {peaks}.\n");
    }

    private static string StepPlot(JsonObject table) => RatioPlot.Draw(
        "LoRA training step: tokens per second over the tuned peer's", $"{table["cpu"]}; {table["peer"]}; commit {table["commit"]}",
        [.. Rows(table).Select(r => new RatioBar(
            $"{r["precision"]}, {r["isa"]}, {StepTable.Threads((int)r["threads"]!)}", (double)r["ratio_median"]!, (double)r["ratio_min"]!, (double)r["ratio_max"]!))]);

    private static void Table(StringBuilder page, JsonObject table, string header, Func<JsonObject, string> row)
    {
        JsonObject[] rows = [.. Rows(table)];
        if (rows.Length == 0) return;
        page.Append($"\n{header}\n|{string.Concat(Enumerable.Repeat("---|", header.Count(c => c == '|') - 1))}\n");
        foreach (JsonObject r in rows) page.Append(row(r)).Append('\n');
    }

    private static IEnumerable<JsonObject> Rows(JsonObject table) => table["rows"]!.AsArray().Select(r => r!.AsObject());

    private static string N(JsonObject row, string key, int digits) => F((double)row[key]!, digits);

    private static string F(double value, int digits) => value.ToString($"F{digits}", CultureInfo.InvariantCulture);

    private static string Ratio(JsonObject r) => $"**{N(r, "ratio_median", 2)}×** ({N(r, "ratio_min", 2)} … {N(r, "ratio_max", 2)})";

    private static string Percent(JsonObject r) => $"{F((double)r["share_of_peak"]! * 100, 0)} %";

    private static string OverOneThread(JsonObject r) => r["over_one_thread"] is null ? "" : $", {N(r, "over_one_thread", 2)}×";

    private static string Pairs(JsonObject r) => $"{r["pairs"]} ({r["dropped"]})";

    private static string Each(JsonObject r, string key) => string.Join(", ", r[key]!.AsArray().Select(v => F((double)v!, 0)));
}
