using System.Text.Json.Nodes;

namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>Our QLoRA step, over an NF4 base, against our own LoRA step of the same shape and precision.</summary>
internal sealed class QloraTable(Session session)
{
    private const int Lora = 0;
    private const int Qlora = 1;

    internal Table Run()
    {
        var table = new Table("qlora");
        foreach ((string isa, string precision) in StepTable.Kinds)
        {
            string row = $"qlora, {precision} {isa}, 1 thread";
            table.Add(session, row, () => Row(table, row, isa, precision));
        }

        table.Save(session);
        return table;
    }

    private JsonObject Row(Table table, string name, string isa, string precision)
    {
        StepTable.CheckMachine(isa, 1);
        string arguments = $"step --precision {precision} --threads 1 {StepTable.Steps}";
        Pairs pairs = session.Pairs.Run(
            name, () => MeasuringProcess.RunOurs(arguments, isa), () => MeasuringProcess.RunOurs($"{arguments} --method qlora", isa));
        table.Note(pairs);
        double[] ratios = pairs.Ratios(Lora, Qlora, m => m.MedianMilliseconds);
        return new JsonObject
        {
            ["isa"] = isa, ["precision"] = precision, ["threads"] = 1, ["pairs"] = pairs.Quiet.Count, ["dropped"] = pairs.Dropped,
            ["lora_tokens_per_s"] = pairs.Median(Lora, m => m.TokensPerSecond), ["qlora_tokens_per_s"] = pairs.Median(Qlora, m => m.TokensPerSecond),
            ["ratio_median"] = Math.Round(Statistics.Median(ratios), 3), ["ratio_min"] = Math.Round(ratios.Min(), 3), ["ratio_max"] = Math.Round(ratios.Max(), 3),
            ["lora_peak_mb"] = pairs.Quiet.Max(round => round[Lora].PeakMegabytes), ["qlora_peak_mb"] = pairs.Quiet.Max(round => round[Qlora].PeakMegabytes),
        };
    }
}
