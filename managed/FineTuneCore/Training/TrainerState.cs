using System.Text.Json;
using System.Text.Json.Serialization;

namespace FineTuneCore.Training;

/// <summary>What a checkpoint must know beside weights and moments. Order, schedule and dropout are functions of seed and step.</summary>
internal sealed record TrainerState
{
    [JsonPropertyName("format")]
    public int Format { get; init; } = 1;

    /// <summary>Optimiser steps done.</summary>
    [JsonPropertyName("step")]
    public required int Step { get; init; }

    /// <summary>Optimiser updates done: steps less the skipped ones; AdamW's t.</summary>
    [JsonPropertyName("updates")]
    public required int Updates { get; init; }

    [JsonPropertyName("trained_tokens")]
    public required long TrainedTokens { get; init; }

    [JsonPropertyName("best_step")]
    public required int BestStep { get; init; }

    /// <summary>Null before the first validation.</summary>
    [JsonPropertyName("best_loss")]
    public double? BestLoss { get; init; }

    [JsonPropertyName("initial_loss")]
    public double? InitialLoss { get; init; }

    [JsonPropertyName("evaluations_without_improvement")]
    public required int EvaluationsWithoutImprovement { get; init; }

    [JsonPropertyName("skipped_in_a_row")]
    public required int SkippedInARow { get; init; }

    /// <summary>Training losses since the last validation: their sum and number.</summary>
    [JsonPropertyName("train_loss_sum")]
    public required double TrainLossSum { get; init; }

    [JsonPropertyName("train_loss_count")]
    public required int TrainLossCount { get; init; }

    /// <summary>Seconds of training so far, over all parts of the run.</summary>
    [JsonPropertyName("seconds")]
    public required double Seconds { get; init; }

    /// <summary>Hash of everything the numbers depend on; a resume under other options or data is refused.</summary>
    [JsonPropertyName("fingerprint")]
    public required string Fingerprint { get; init; }

    internal byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, TrainerStateJson.Default.TrainerState);

    internal static TrainerState Read(string path)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), TrainerStateJson.Default.TrainerState)
                ?? throw FineTuneException.Failed($"{path} is empty.");
        }
        catch (Exception e) when (e is JsonException or IOException)
        {
            throw FineTuneException.Failed($"{path} is not a trainer state ({e.Message}).", e);
        }
    }
}

[JsonSourceGenerationOptions(WriteIndented = true)]
[JsonSerializable(typeof(TrainerState))]
internal sealed partial class TrainerStateJson : JsonSerializerContext;
