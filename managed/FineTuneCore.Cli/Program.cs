using System.CommandLine;
using FineTuneCore.Cli.Commands;

namespace FineTuneCore.Cli;

internal static class Program
{
    /// <summary>All commands, one line each.</summary>
    internal static RootCommand CreateRoot() => new("Fine-tune LLMs on your own hardware, without Python.")
    {
        InspectCommand.Create(),
    };

    private static int Main(string[] args) => CreateRoot().Parse(args).Invoke();
}
