using Microsoft.Extensions.Logging;

namespace FineTuneCore.Training;

internal static partial class Log
{
    [LoggerMessage(LogLevel.Information, "Fine-tuning {Model}: {Method}, {Steps} steps")]
    internal static partial void Started(ILogger logger, string model, string method, int steps);

    [LoggerMessage(LogLevel.Information, "Step {Step}: validation loss {Loss}")]
    internal static partial void Evaluated(ILogger logger, int step, double loss);

    [LoggerMessage(LogLevel.Debug, "Checkpoint {Path}")]
    internal static partial void Saved(ILogger logger, string path);

    [LoggerMessage(LogLevel.Warning, "{Message}")]
    internal static partial void Notice(ILogger logger, string message);

    [LoggerMessage(LogLevel.Information, "Saved {Path} after {Steps} steps")]
    internal static partial void Completed(ILogger logger, string path, int steps);
}
