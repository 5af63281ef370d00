namespace FineTuneCore.Training;

/// <summary>Something a run reports; the kinds are the records below.</summary>
public abstract record TrainingEvent;

/// <summary>Everything is loaded and planned; the first step follows.</summary>
public sealed record RunStarted(RunPlan Plan) : TrainingEvent;

/// <summary>One optimiser step is done.</summary>
/// <param name="Step">Steps done so far, from 1.</param>
/// <param name="Loss">Mean negative log likelihood of the step's trained tokens, before the update.</param>
/// <param name="LearningRate">The learning rate of the update.</param>
/// <param name="GradientNorm">Global norm before clipping.</param>
/// <param name="TokensPerSecond">All tokens of the step, context included, per second.</param>
/// <param name="TrainedTokens">Trained tokens so far.</param>
/// <param name="ElapsedSeconds">Since the run, or this part of it, started.</param>
/// <param name="RemainingSeconds">Estimated from the steps so far.</param>
/// <param name="Skipped">The gradient was not finite; nothing was updated.</param>
public sealed record StepCompleted(
    int Step, double Loss, double LearningRate, double GradientNorm, double TokensPerSecond, long TrainedTokens, double ElapsedSeconds,
    double RemainingSeconds, bool Skipped) : TrainingEvent;

/// <summary>The validation data was scored.</summary>
/// <param name="Step">Steps done so far; 0 is before training.</param>
/// <param name="Loss">Mean negative log likelihood per trained token.</param>
/// <param name="TrainLoss">Mean training loss since the last validation; NaN before training.</param>
/// <param name="IsBest">Lower than ever before in this run.</param>
public sealed record Evaluated(int Step, double Loss, double TrainLoss, bool IsBest) : TrainingEvent;

/// <summary>A checkpoint is on disk, whole.</summary>
public sealed record CheckpointSaved(int Step, string Path) : TrainingEvent;

/// <summary>Something the user should know; the run goes on.</summary>
public sealed record RunNotice(string Message) : TrainingEvent;

/// <summary>The profile of the run's steps, after the last of them.</summary>
public sealed record RunProfiled(StepProfile Profile) : TrainingEvent;

/// <summary>The run ended and its results are saved.</summary>
public sealed record RunCompleted(FineTuneResult Result) : TrainingEvent;

/// <summary>What a run is about to do, for the header panel.</summary>
public sealed record RunPlan
{
    /// <summary>Name of the base model.</summary>
    public required string Model { get; init; }

    /// <summary>One line: method, rank, targets.</summary>
    public required string Method { get; init; }

    /// <summary>Weights of the base model.</summary>
    public required long Parameters { get; init; }

    /// <summary>Trained weights.</summary>
    public required long TrainableParameters { get; init; }

    /// <summary>Samples trained on.</summary>
    public required int TrainSamples { get; init; }

    /// <summary>Samples held out.</summary>
    public required int ValidationSamples { get; init; }

    /// <summary>Tokens of one epoch.</summary>
    public required long TokensPerEpoch { get; init; }

    /// <summary>Of these, tokens that are trained.</summary>
    public required long TrainedTokensPerEpoch { get; init; }

    /// <summary>Filled part of packed rows, 0 to 1; 1 without packing.</summary>
    public required double PackingEfficiency { get; init; }

    /// <summary>Optimiser steps of the whole run.</summary>
    public required int Steps { get; init; }

    /// <summary>Steps already done by an earlier part of the run.</summary>
    public required int StepsDone { get; init; }

    /// <summary>Planned bytes by category: weights, trained state, activations.</summary>
    public required IReadOnlyList<(string Category, long Bytes)> Memory { get; init; }

    /// <summary>Bytes free before loading.</summary>
    public required long MemoryAvailable { get; init; }

    /// <summary>Device, instruction set and threads.</summary>
    public required string Device { get; init; }

    /// <summary>Where everything is written.</summary>
    public required string Output { get; init; }

    /// <summary>What was chosen for the user: data format, template, precision, learning rate.</summary>
    public required IReadOnlyList<string> Choices { get; init; }
}

/// <summary>How a run ended.</summary>
public sealed record FineTuneResult
{
    /// <summary>The run directory.</summary>
    public required string Output { get; init; }

    /// <summary>The adapter (PEFT format) or, for full fine-tuning, the model directory.</summary>
    public required string ModelPath { get; init; }

    /// <summary>Steps done.</summary>
    public required int Steps { get; init; }

    /// <summary>Validation loss before training; null without validation data.</summary>
    public double? InitialValidationLoss { get; init; }

    /// <summary>Validation loss of what was saved.</summary>
    public double? FinalValidationLoss { get; init; }

    /// <summary>Mean training loss of the last ten steps.</summary>
    public required double FinalTrainLoss { get; init; }

    /// <summary>The step whose weights were saved.</summary>
    public required int BestStep { get; init; }

    /// <summary>Early stopping ended the run.</summary>
    public bool StoppedEarly { get; init; }

    /// <summary>The run was cancelled; a checkpoint was written and <see cref="ResumeCommand"/> continues it.</summary>
    public bool Cancelled { get; init; }

    /// <summary>Command that continues a cancelled run.</summary>
    public string? ResumeCommand { get; init; }

    /// <summary>Seconds of training and validation.</summary>
    public required double Seconds { get; init; }

    /// <summary>Tokens per second over all steps.</summary>
    public required double TokensPerSecond { get; init; }

    /// <summary>Most bytes the process took of the GPU: buffers, driver, kernels. Null on the CPU.</summary>
    public long? DeviceMemory { get; init; }
}
