using System.Diagnostics;
using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Export;
using FineTuneCore.Files;
using FineTuneCore.Models;

namespace FineTuneCore.Training;

/// <summary>The steps of a run with validation, checkpoints, early stopping, cancellation and the saving of its result.</summary>
internal sealed class RunExecution : IDisposable
{
    private const int MostSkippedInARow = 3;
    private const int FinalLossSteps = 10; // averaged for the final training loss
    private const double ImprovementAtLeast = 1e-4; // of the validation loss, to count as one

    private readonly RunPreparation _run;
    private readonly FineTuneOptions _options;
    private readonly string _fingerprint;
    private readonly string _output;
    private readonly Action<TrainingEvent> _report;
    private readonly TrainingLoop _loop;
    private readonly Validation? _validation;
    private MetricsWriter? _metrics;

    private int _step;
    private int _updates;
    private long _trainedTokens;
    private int _bestStep;
    private double? _bestLoss;
    private double? _initialLoss;
    private int _withoutImprovement;
    private int _skippedInARow;
    private double _trainLossSum;
    private int _trainLossCount;
    private double _secondsBefore;
    private long _started;
    private int _firstStep;
    private long _firstStepBegan;
    private long _tokens;
    private double _stepSeconds;

    internal RunExecution(RunPreparation run, string fingerprint, string output, Action<TrainingEvent> report)
    {
        (_run, _options, _fingerprint, _output, _report) = (run, run.Options, fingerprint, output, report);
        var schedule = new LearningRateSchedule(_options.Schedule, _options.LearningRate!.Value, run.WarmupSteps, run.TotalSteps);
        _loop = new TrainingLoop(run.Weights, run.Decoder, run.Training, _options, schedule, message => report(new RunNotice(message)));
        _validation = run.Validation is null ? null : new Validation(run.Decoder, run.Validation);
    }

    private double Seconds => _secondsBefore + Stopwatch.GetElapsedTime(_started).TotalSeconds;

    internal FineTuneResult Execute(CancellationToken cancellation)
    {
        if (_options.Resume) Restore();
        RunDirectory.CutMetrics(_output, _step == 0 ? -1 : _step);
        _metrics = new MetricsWriter(_output);
        _firstStep = _step;
        _report(new RunStarted(Plan()));
        _started = Stopwatch.GetTimestamp();
        bool stopped = false;
        try
        {
            if (_step == 0 && _validation is not null && _initialLoss is null) Evaluate(cancellation);
            stopped = ShouldStop();
            while (_step < _run.TotalSteps && !stopped)
            {
                cancellation.ThrowIfCancellationRequested();
                Step();
                bool last = _step == _run.TotalSteps;
                bool evaluated = _validation is not null && (_step % _options.EvalEvery == 0 || last);
                bool best = evaluated && Evaluate(cancellation);
                stopped = ShouldStop();
                if (best || last || stopped || _step % _options.CheckpointEvery == 0) Save();
            }
        }
        catch (OperationCanceledException)
        {
            return Cancelled();
        }

        return Finish(stopped);
    }

    private void Step()
    {
        long begin = Stopwatch.GetTimestamp();
        if (_firstStepBegan == 0) _firstStepBegan = begin;
        // The first step meets cold caches and code that is compiled as it goes: it is profiled only where it is the last.
        StepProfiler? profiler = _step > _firstStep || _run.TotalSteps == _step + 1 ? _run.Profiler : null;
        profiler?.BeginStep();
        StepResult result = _loop.Run(_step, _updates);
        double seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
        profiler?.EndStep(seconds, result.Tokens);
        _step++;
        _tokens += result.Tokens;
        _stepSeconds += seconds;
        _trainedTokens += result.TrainedTokens;
        if (result.Skipped)
        {
            _skippedInARow++;
        }
        else
        {
            _updates++;
            _skippedInARow = 0;
            _trainLossSum += result.Loss;
            _trainLossCount++;
        }

        double elapsed = Seconds - _secondsBefore;
        double remaining = Stopwatch.GetElapsedTime(_firstStepBegan).TotalSeconds / (_step - _firstStep) * (_run.TotalSteps - _step);
        var completed = new StepCompleted(
            _step, result.Loss, result.LearningRate, result.GradientNorm, result.Tokens / seconds, _trainedTokens, elapsed, remaining, result.Skipped);
        _metrics!.Step(completed);
        _report(completed);
        if (result.Skipped) WatchSkipped(result);
    }

    private void WatchSkipped(StepResult result)
    {
        _report(new RunNotice($"step {_step}: loss {result.Loss} and gradient norm {result.GradientNorm} are not both finite; the update was skipped"));
        if (_skippedInARow < MostSkippedInARow) return;
        string? checkpoint = CheckpointFiles.FindNewest(_output, _ => { });
        throw FineTuneException.Failed(
            $"loss or gradient were not finite for {_skippedInARow} steps in a row, up to step {_step} (learning rate {result.LearningRate:G3}); the run was stopped. " +
            (checkpoint is null ? "" : $"The last good state is {checkpoint}. ") + "Start again with a lower --learning-rate, or a lower --clip-norm.");
    }

    /// <summary>Scores the validation data; true when it is the best so far.</summary>
    private bool Evaluate(CancellationToken cancellation)
    {
        double loss = _validation!.Loss(cancellation);
        if (!double.IsFinite(loss)) throw NotFinite(loss);
        if (_step == 0) _initialLoss = loss;
        bool best = _bestLoss is not { } before || loss < before;
        bool improved = _bestLoss is not { } b || loss < b - ImprovementAtLeast * Math.Abs(b);
        if (best) (_bestLoss, _bestStep) = (loss, _step);
        _withoutImprovement = improved ? 0 : _withoutImprovement + 1;
        double train = _trainLossCount > 0 ? _trainLossSum / _trainLossCount : double.NaN;
        (_trainLossSum, _trainLossCount) = (0, 0);
        var evaluated = new Evaluated(_step, loss, train, best);
        _metrics!.Evaluated(evaluated);
        _report(evaluated);
        return best && _step > 0;
    }

    private FineTuneException NotFinite(double loss) => FineTuneException.Failed(_step == 0
        ? $"the validation loss of {_options.Model} before training is {loss}: its weights or its config.json are damaged; compare them with the original, or download the model again."
        : $"the validation loss after step {_step} is {loss}; the run was stopped. Start again with a lower --learning-rate, or a lower --clip-norm.");

    private bool ShouldStop() => _options.EarlyStopping > 0 && _withoutImprovement >= _options.EarlyStopping;

    private void Save()
    {
        // Stopped before another step was done: what is there is what would be written.
        if (CheckpointFiles.Verify(CheckpointFiles.PathOf(_output, _step)) is null) return;
        TrainerState state = State();
        byte[] huggingFace = HuggingFaceState.Write(MetricsReader.Read(_output), state, _run.TotalSteps, _run.Training.StepsPerEpoch, _options);
        string path = CheckpointFiles.Write(_output, _run.Weights, state, WriteTrained, huggingFace);
        CheckpointFiles.Prune(_output, _options.KeepCheckpoints, _bestStep);
        _report(new CheckpointSaved(_step, path));
    }

    /// <summary>The trained weights in fp32, as the next part of the run reads them.</summary>
    private void WriteTrained(string directory)
    {
        if (_run.Lora is not null) AdapterFiles.Write(directory, _run.Weights, _run.Lora, _options.Model);
        else ModelWriter.WriteInto(directory, _run.Base, _run.Weights, ElementType.F32, keepNf4: false);
    }

    private TrainerState State() => new()
    {
        Step = _step,
        Updates = _updates,
        TrainedTokens = _trainedTokens,
        BestStep = _bestStep,
        BestLoss = _bestLoss,
        InitialLoss = _initialLoss,
        EvaluationsWithoutImprovement = _withoutImprovement,
        SkippedInARow = _skippedInARow,
        TrainLossSum = _trainLossSum,
        TrainLossCount = _trainLossCount,
        Seconds = Seconds,
        Fingerprint = _fingerprint,
    };

    private void Restore()
    {
        string? checkpoint = CheckpointFiles.FindNewest(_output, problem => _report(new RunNotice(problem)));
        if (checkpoint is null)
        {
            _report(new RunNotice($"{_output} has no whole checkpoint yet; the run starts from its beginning"));
            return;
        }

        TrainerState state = CheckpointFiles.Read(checkpoint, _run.Weights, withState: true);
        (_step, _updates, _trainedTokens, _bestStep, _bestLoss) = (state.Step, state.Updates, state.TrainedTokens, state.BestStep, state.BestLoss);
        (_initialLoss, _withoutImprovement, _skippedInARow) = (state.InitialLoss, state.EvaluationsWithoutImprovement, state.SkippedInARow);
        (_trainLossSum, _trainLossCount, _secondsBefore) = (state.TrainLossSum, state.TrainLossCount, state.Seconds);
        _report(new RunNotice($"resumed from {checkpoint}, {_step} of {_run.TotalSteps} steps done"));
    }

    private FineTuneResult Cancelled()
    {
        Save();
        FineTuneResult result = Result(Path.Combine(CheckpointFiles.PathOf(_output, _step)), _step, stopped: false) with
        {
            Cancelled = true,
            ResumeCommand = $"ftc train --resume --output {_output}",
        };
        return result;
    }

    private FineTuneResult Finish(bool stopped)
    {
        int saved = _step;
        if (_loop.GraphCount > 0) _report(new RunNotice($"steps ran as {_loop.GraphCount} CUDA graphs"));
        if (_validation is not null && _bestStep != _step && _bestStep > 0)
        {
            CheckpointFiles.Read(CheckpointFiles.PathOf(_output, _bestStep), _run.Weights, withState: false);
            saved = _bestStep;
            _report(new RunNotice($"the weights of step {_bestStep} had the lowest validation loss and are the ones saved"));
        }
        else if (_validation is not null && _bestStep == 0 && _bestLoss is not null)
        {
            _report(new RunNotice("validation loss never fell below that of the base model; the last weights are saved. Try a lower learning rate, or more or other data."));
        }

        string path = Path.Combine(_output, _run.Lora is null ? "model" : "adapter");
        if (_run.Lora is not null) AtomicFile.WriteDirectory(path, WriteTrained);
        else ModelWriter.Write(path, _run.Base, _run.Weights, type: null, keepNf4: false);
        ReportProfile();
        FineTuneResult result = Result(path, saved, stopped);
        AtomicFile.WriteText(Path.Combine(_output, RunDirectory.ReportName), Report.Html(Plan(), result, MetricsReader.Read(_output), _options));
        _report(new RunCompleted(result));
        return result;
    }

    private void ReportProfile()
    {
        if (_run.Profiler?.Finish(DeviceText()) is not { } profile) return;
        AtomicFile.Write(Path.Combine(_output, RunDirectory.ProfileName), stream => stream.Write(profile.ToJson()));
        _report(new RunProfiled(profile));
    }

    private FineTuneResult Result(string path, int saved, bool stopped) => new()
    {
        Output = _output,
        ModelPath = path,
        Steps = _step,
        InitialValidationLoss = _initialLoss,
        FinalValidationLoss = _validation is null ? null : saved == _bestStep ? _bestLoss : LastEvaluation(),
        FinalTrainLoss = LastTrainLoss(),
        BestStep = saved,
        StoppedEarly = stopped,
        Seconds = Seconds,
        TokensPerSecond = _stepSeconds > 0 ? _tokens / _stepSeconds : 0,
        DeviceMemory = _run.Backend.HasBackground ? _run.Backend.MemoryPeak + _run.Backend.Info.MemoryOverheadBytes : null,
    };

    private double LastTrainLoss() =>
        MetricsReader.Read(_output).Where(r => r.Loss is not null).TakeLast(FinalLossSteps).Select(r => r.Loss!.Value).DefaultIfEmpty(double.NaN).Average();

    private double? LastEvaluation() => MetricsReader.Read(_output).LastOrDefault(r => r.EvalLoss is not null).EvalLoss;

    private RunPlan Plan()
    {
        return new RunPlan
        {
            Model = Path.GetFileName(_options.Model.TrimEnd('/', '\\')),
            Method = MethodText(),
            Parameters = _run.Config.ParameterCount,
            TrainableParameters = _run.Weights.Parameters.TrainableCount,
            TrainSamples = _run.TrainSamples,
            ValidationSamples = _run.ValidationSamples,
            TokensPerEpoch = _run.Training.Tokens,
            TrainedTokensPerEpoch = _run.Training.TrainedTokens,
            PackingEfficiency = _run.PackingEfficiency,
            Steps = _run.TotalSteps,
            StepsDone = _step,
            Memory = _run.Memory,
            MemoryAvailable = _run.MemoryAvailable,
            Device = DeviceText(),
            Output = _output,
            Choices = _run.Choices,
        };
    }

    private string DeviceText()
    {
        DeviceInfo device = _run.Backend.Info;
        return $"{_run.Device.Name} {device.Name}, {device.Isa}, {_run.Device.Precision.Name()}{(device.Threads == 0 ? "" : $", {device.Threads} thread{(device.Threads == 1 ? "" : "s")}")}";
    }

    private string MethodText()
    {
        if (_run.Lora is not { } lora) return "full fine-tuning";
        string method = _options.Method == FineTuneMethod.QLora ? "QLoRA nf4" : "LoRA";
        return $"{method} r{lora.Rank} α{lora.Alpha:G} {string.Join(",", lora.TargetModules)}{(lora.Dropout > 0 ? $" dropout {lora.Dropout:G}" : "")}";
    }

    public void Dispose()
    {
        _metrics?.Dispose();
        _loop.Dispose();
    }
}
