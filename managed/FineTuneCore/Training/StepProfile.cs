using System.Text.Json;
using System.Text.Json.Serialization;

namespace FineTuneCore.Training;

/// <summary>Where the time of a run's steps went, validation and checkpoints left out.</summary>
public sealed record StepProfile
{
    /// <summary>Device, instruction set, precision and threads.</summary>
    [JsonPropertyName("device")]
    public required string Device { get; init; }

    /// <summary>Steps that were profiled.</summary>
    [JsonPropertyName("steps")]
    public required int Steps { get; init; }

    /// <summary>Tokens of these steps, context included.</summary>
    [JsonPropertyName("tokens")]
    public required long Tokens { get; init; }

    /// <summary>Seconds of these steps.</summary>
    [JsonPropertyName("seconds")]
    public required double Seconds { get; init; }

    /// <summary>Multiply-adds a second that the device's threads reach in registers, each counted as two; null where that is not measured (GPUs).</summary>
    [JsonPropertyName("peak_flops_per_second")]
    public double? PeakFlopsPerSecond { get; init; }

    /// <summary>Bytes a second, read and written, of a copy between two buffers larger than the caches.</summary>
    [JsonPropertyName("copy_bytes_per_second")]
    public required double CopyBytesPerSecond { get; init; }

    /// <summary>Share of the peak that the steps as a whole reached.</summary>
    [JsonPropertyName("share_of_peak")]
    public double? ShareOfPeak => Share(Ops.Sum(o => o.Operations), Seconds);

    /// <summary>The ops, slowest first; what the host did between them is last.</summary>
    [JsonPropertyName("ops")]
    public required IReadOnlyList<ProfiledOp> Ops { get; init; }

    /// <summary>Share of the peak of so many operations in so many seconds.</summary>
    public double? Share(double operations, double seconds) =>
        PeakFlopsPerSecond is { } peak && operations > 0 ? operations / seconds / peak : null;

    internal byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, StepProfileJson.Default.StepProfile);
}

/// <summary>One kind of op over all profiled steps.</summary>
/// <param name="Op">Its name, with in- and out-features where it has a weight.</param>
/// <param name="Calls">How often it ran.</param>
/// <param name="Seconds">All calls together.</param>
/// <param name="Operations">Floating-point operations, a multiply-add counted as two; 0 for ops that only move memory.</param>
/// <param name="Bytes">What its operands and results hold.</param>
public sealed record ProfiledOp(
    [property: JsonPropertyName("op")] string Op,
    [property: JsonPropertyName("calls")] long Calls,
    [property: JsonPropertyName("seconds")] double Seconds,
    [property: JsonPropertyName("operations")] double Operations,
    [property: JsonPropertyName("bytes")] double Bytes);

[JsonSourceGenerationOptions(WriteIndented = true)]
[JsonSerializable(typeof(StepProfile))]
internal sealed partial class StepProfileJson : JsonSerializerContext;
