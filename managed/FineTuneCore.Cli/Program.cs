using System.CommandLine;
using System.Text;
using FineTuneCore.Cli.Commands;

namespace FineTuneCore.Cli;

internal static class Program
{
    /// <summary>All commands, one line each.</summary>
    internal static RootCommand CreateRoot() => new("Fine-tune LLMs on your own hardware, without Python.")
    {
        QuickstartCommand.Create(),
        TrainCommand.Create(),
        InspectCommand.Create(),
        GenerateCommand.Create(),
        ChatCommand.Create(),
        EvalCommand.Create(),
        MergeCommand.Create(),
        QuantizeCommand.Create(),
        TuneCommand.Create(),
        DoctorCommand.Create(),
    };

    private static int Main(string[] args)
    {
        Console.OutputEncoding = new UTF8Encoding(false);
        return Run(args);
    }

    /// <summary>Parses and runs; errors go to standard error as one paragraph, the exit code says which kind.</summary>
    internal static int Run(string[] args)
    {
        ParseResult parsed = CreateRoot().Parse(args);
        if (parsed.Errors.Count > 0)
        {
            foreach (System.CommandLine.Parsing.ParseError error in parsed.Errors) Console.Error.WriteLine($"ftc: {error.Message}");
            Console.Error.WriteLine($"Try: {CommandPath(parsed)} --help");
            return ExitCodes.Usage;
        }

        try
        {
            return parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
        }
        catch (Exception e) when (ExitCodes.Of(e) is { } code)
        {
            Console.Error.WriteLine(code == ExitCodes.Cancelled ? "cancelled" : $"ftc: {e.Message}");
            return code;
        }
    }

    private static string CommandPath(ParseResult parsed)
    {
        var names = new List<string>();
        for (System.CommandLine.Parsing.SymbolResult? at = parsed.CommandResult; at is System.CommandLine.Parsing.CommandResult c; at = at.Parent)
            names.Insert(0, c.Command is RootCommand ? "ftc" : c.Command.Name);
        return string.Join(' ', names);
    }
}
