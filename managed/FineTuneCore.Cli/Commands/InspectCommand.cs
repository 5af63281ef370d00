using System.CommandLine;

namespace FineTuneCore.Cli.Commands;

/// <summary><c>ftc inspect</c>: looks inside a model and says what it does, for people and for scripts.</summary>
internal static class InspectCommand
{
    public static Command Create() => new("inspect", "Shows what a model's parts do, one JSON object a line.")
    {
        InspectTokens.Create(),
        InspectTemplate.Create(),
        InspectLogits.Create(),
        InspectModel.Create(),
    };

    /// <summary>The option that all of them share.</summary>
    public static Option<FileInfo> JsonlOption(string form) => new("--jsonl")
    {
        Description = $"File with one request a line: {form}",
        HelpName = "FILE",
        Required = true,
    };
}
