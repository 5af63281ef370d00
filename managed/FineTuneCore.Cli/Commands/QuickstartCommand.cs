using System.CommandLine;
using FineTuneCore.Cli.Output;
using FineTuneCore.Cli.Quickstart;
using FineTuneCore.Training;

namespace FineTuneCore.Cli.Commands;

/// <summary><c>ftc quickstart</c>: fine-tunes the model that comes along on the chats that come along.</summary>
internal static class QuickstartCommand
{
    public static Command Create()
    {
        var command = new Command("quickstart", "Fine-tunes a tiny model that comes along, in about a minute and offline, and shows it before and after.");
        var output = new Option<string?>("--output") { Description = "Run directory; created [ftc-quickstart-TIME].", HelpName = "DIR" };
        var method = new Option<string>("--method") { Description = "qlora or lora [qlora].", HelpName = "METHOD", DefaultValueFactory = _ => "qlora" };
        method.AcceptOnlyFromAmong("qlora", "lora");
        foreach (Option option in (Option[])[output, method]) command.Options.Add(option);
        var device = new DeviceOptions();
        device.AddTo(command);
        command.SetAction(result =>
        {
            FineTuneMethod chosen = result.GetValue(method) == "lora" ? FineTuneMethod.Lora : FineTuneMethod.QLora;
            FineTuneOptions options = QuickstartTour.Options(chosen, result.GetValue(output), device.Threads(result) is > 0 and int threads ? threads : null);
            (options.Device, options.Precision) = (device.Device(result), device.Precision(result));
            return new QuickstartTour(options, Console.Out, RunDisplay.Create(json: false)).Run();
        });
        return command;
    }
}
