using System.CommandLine;
using FineTuneCore.Export;

namespace FineTuneCore.Cli.Commands;

/// <summary><c>ftc merge</c>: writes base and adapter as one model.</summary>
internal static class MergeCommand
{
    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "Run directory of ftc train, or the base model of --adapter.", HelpName = "DIR", Required = true };
        var adapter = new Option<string?>("--adapter") { Description = "PEFT adapter directory.", HelpName = "DIR" };
        var onto = new Option<string?>("--base")
        {
            Description = "Merge onto this base instead of the one the adapter was trained on, and report how far its logits drift.", HelpName = "DIR",
        };
        var output = new Option<string>("--output") { Description = "The new model directory.", HelpName = "DIR", Required = true };
        var dtype = new Option<string>("--dtype") { Description = "auto (as the base), f32, bf16 or f16 [auto].", HelpName = "TYPE", DefaultValueFactory = _ => "auto" };
        dtype.AcceptOnlyFromAmong("auto", "f32", "bf16", "f16");
        var device = new DeviceOptions();
        var command = new Command("merge", "Writes base and adapter as one model directory: W + s·B·A in fp32, rounded once. A QLoRA adapter merges onto the dequantised base it was trained on.")
        {
            model, adapter, onto, output, dtype,
        };
        device.AddTo(command, precision: false);
        command.SetAction(result =>
        {
            MergeReport report = ModelMerger.Merge(
                result.GetRequiredValue(model), result.GetValue(adapter), result.GetValue(onto), result.GetRequiredValue(output),
                result.GetValue(dtype)!, device.Threads(result), device.Device(result));
            Console.Out.WriteLine($"merged {report.Layers} adapted layers into {report.Output} ({report.Type})");
            Console.Out.WriteLine($"logits, merged against unmerged: at most {report.MaxLogitDifference:G3} apart over {report.ProbeTokens} probe tokens");
            if (report.Drift is { } drift)
                Console.Out.WriteLine($"drift from the base the adapter was trained on: logits at most {drift.Max:G3}, on average {drift.Mean:G3} apart");
            return ExitCodes.Ok;
        });
        return command;
    }
}
