using System.CommandLine;
using System.CommandLine.Parsing;
using System.Runtime.InteropServices;
using FineTuneCore.Cli.Output;
using FineTuneCore.Training;

namespace FineTuneCore.Cli.Commands;

/// <summary><c>ftc train</c>: one run from flags and at most one YAML file.</summary>
internal static class TrainCommand
{
    public static Command Create()
    {
        var command = new Command("train", "Fine-tunes a model. Options come from defaults, then the --config file, then flags.");
        var config = new Argument<FileInfo?>("CONFIG") { Description = "YAML file with any of the options below, in snake_case.", Arity = ArgumentArity.ZeroOrOne };
        config.Validators.Add(result =>
        {
            // A mistyped flag would otherwise be taken for the file.
            if (result.Tokens is [{ Value: ['-', '-', .. string name] token }, ..])
                result.AddError($"{token.Split('=')[0]} is not an option.{(Settings.Suggest(name.Split('=')[0]) is { } near ? $" Did you mean {Settings.Find(near)!.Flag}?" : "")}");
        });
        var configFlag = new Option<FileInfo?>("--config") { Description = "The same, as a flag.", HelpName = "FILE" };
        var print = new Option<bool>("--print-config") { Description = "Print every option with its value and where it came from, and stop." };
        var json = new Option<bool>("--json") { Description = "Events as JSON, one a line, instead of the table." };
        command.Arguments.Add(config);
        foreach (Option option in (Option[])[configFlag, print, json]) command.Options.Add(option);
        Dictionary<Setting, Option<string?>> flags = Settings.All.ToDictionary(s => s, Flag);
        foreach (Option<string?> flag in flags.Values) command.Options.Add(flag);
        command.SetAction(result =>
        {
            FileInfo? file = result.GetValue(config) ?? result.GetValue(configFlag);
            ResolvedConfig resolved = ConfigResolver.Resolve(file?.FullName, Given(result, flags));
            if (result.GetValue(print))
            {
                resolved.Print(Console.Out);
                return ExitCodes.Ok;
            }

            return Run(resolved.Options, RunDisplay.Create(result.GetValue(json)));
        });
        return command;
    }

    private static int Run(FineTuneOptions options, IRunDisplay display)
    {
        using (display)
        {
            FineTuneResult result = Train(options, display);
            display.Finished(result);
            return result.Cancelled ? ExitCodes.Cancelled : ExitCodes.Ok;
        }
    }

    /// <summary>Trains with Ctrl+C and SIGTERM turned into a full checkpoint; a second Ctrl+C ends at once.</summary>
    internal static FineTuneResult Train(FineTuneOptions options, IRunDisplay display)
    {
        using var cancellation = new CancellationTokenSource();
        void OnSignal(PosixSignalContext context)
        {
            if (cancellation.IsCancellationRequested) return;
            context.Cancel = true;
            display.Notice("stopping after this step, with a checkpoint; press Ctrl+C again to stop at once");
            cancellation.Cancel();
        }

        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
        return new FineTuner(options).Run(display, cancellation.Token);
    }

    private static Option<string?> Flag(Setting setting) => new(setting.Flag)
    {
        Description = setting.Help,
        HelpName = setting.IsSwitch ? "true|false" : "VALUE",
        Arity = setting.IsSwitch ? ArgumentArity.ZeroOrOne : ArgumentArity.ExactlyOne,
    };

    private static IEnumerable<(Setting Setting, string Text)> Given(ParseResult result, Dictionary<Setting, Option<string?>> flags)
    {
        foreach ((Setting setting, Option<string?> flag) in flags)
            if (result.GetResult(flag) is OptionResult { Implicit: false }) yield return (setting, result.GetValue(flag) ?? "");
    }
}
