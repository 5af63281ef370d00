using FineTuneCore.Training;
using Spectre.Console;

namespace FineTuneCore.Cli.Output;

/// <summary>How a run is shown.</summary>
internal interface IRunDisplay : IProgress<TrainingEvent>, IDisposable
{
    /// <summary>Says something between events.</summary>
    void Notice(string message);

    /// <summary>Shows how the run ended.</summary>
    void Finished(FineTuneResult result);
}

internal static class RunDisplay
{
    /// <summary>JSON events, a live table on a terminal, or plain lines elsewhere.</summary>
    internal static IRunDisplay Create(bool json) =>
        json ? new JsonDisplay(Console.Out)
        : !Console.IsOutputRedirected && AnsiConsole.Profile.Capabilities.Ansi ? new LiveDisplay(AnsiConsole.Console)
        : new PlainDisplay(Console.Out);
}
