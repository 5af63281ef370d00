using System.CommandLine;
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
        var threads = new Option<int?>("--threads") { Description = "CPU threads [all this process may use].", HelpName = "N" };
        threads.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int?>() is < 1) result.AddError("--threads expects 1 or more");
        });
        foreach (Option option in (Option[])[output, method, threads]) command.Options.Add(option);
        command.SetAction(result =>
        {
            FineTuneMethod chosen = result.GetValue(method) == "lora" ? FineTuneMethod.Lora : FineTuneMethod.QLora;
            return new QuickstartTour(QuickstartTour.Options(chosen, result.GetValue(output), result.GetValue(threads)), Console.Out).Run();
        });
        return command;
    }
}
