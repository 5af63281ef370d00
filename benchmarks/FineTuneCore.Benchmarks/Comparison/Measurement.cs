using System.Text.Json.Nodes;

namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>What one measuring process printed.</summary>
internal sealed class Measurement
{
    internal required JsonObject Start { get; init; }

    internal required JsonObject End { get; init; }

    /// <summary>Lines between both: steps, or rows of a table.</summary>
    internal required IReadOnlyList<JsonObject> Lines { get; init; }

    /// <summary>Cores that other processes kept busy in the timed part.</summary>
    internal double OtherCores => (double)End["other_cores"]!;

    internal double MedianMilliseconds => (double)End["median_ms"]!;

    internal double TokensPerSecond => (double)End["tokens_per_s"]!;

    internal double PeakMegabytes => (double)End["peak_mb"]!;

    /// <summary>The loss of every step, warm-up included.</summary>
    internal IReadOnlyList<double> Losses => [.. Lines.Select(line => (double)line["loss"]!)];
}

/// <summary>A measurement cannot be made here: this CPU or this library lacks what it needs. The message is its own sentence.</summary>
internal sealed class RefusedException(string message) : Exception(message);

/// <summary>There is nothing to compare with, or what was compared is not the same; the message says which.</summary>
internal sealed class NoResultException(string message) : Exception(message);
