using System.CommandLine;
using FineTuneCore.Generation;

namespace FineTuneCore.Cli.Commands;

/// <summary>The options with which every command that uses a model names it.</summary>
internal sealed class ModelOptions
{
    internal Option<string> Model { get; } = new("--model")
    {
        Description = "Model directory, run directory of ftc train, or org/name in the local Hugging Face cache.", HelpName = "DIR", Required = true,
    };

    internal Option<string?> Adapter { get; } = new("--adapter") { Description = "PEFT adapter directory, or a run's checkpoint.", HelpName = "DIR" };

    internal Option<string?> ChatTemplate { get; } = new("--chat-template")
    {
        Description = "A bundled template's name or a .jinja file, over the model's own.", HelpName = "NAME|FILE",
    };

    internal DeviceOptions Device { get; } = new();

    internal void AddTo(Command command, bool chatTemplate = true)
    {
        command.Options.Add(Model);
        command.Options.Add(Adapter);
        if (chatTemplate) command.Options.Add(ChatTemplate);
        Device.AddTo(command);
    }

    internal LanguageModel Load(ParseResult result) =>
        LanguageModel.Load(
            result.GetRequiredValue(Model), result.GetValue(Adapter), result.GetValue(ChatTemplate), Device.Threads(result), Device.Device(result),
            Device.Precision(result));
}
