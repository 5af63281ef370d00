using System.Runtime.InteropServices;
using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace FineTuneCore.Training;

/// <summary>Fine-tunes a model as its options say. One instance is one run.</summary>
/// <example><code>
/// var tuner = new FineTuner(new FineTuneOptions { Model = "models/base", Data = "chats.jsonl", Output = "runs/first" });
/// FineTuneResult result = await tuner.RunAsync();
/// </code></example>
public sealed class FineTuner
{
    private readonly FineTuneOptions _options;
    private readonly ILogger _logger;

    /// <summary>Takes the options; they are completed by the run. Nothing is read yet.</summary>
    public FineTuner(FineTuneOptions options, ILogger<FineTuner>? logger = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _logger = logger ?? NullLogger<FineTuner>.Instance;
    }

    /// <summary>Runs on the thread pool.</summary>
    /// <param name="progress">Gets every event on the training thread; a slow receiver slows the run.</param>
    /// <param name="cancellation">Ends the run after the current step with a full checkpoint.</param>
    /// <exception cref="FineTuneException">Model, data, options or memory are not right; nothing half-written is left.</exception>
    public Task<FineTuneResult> RunAsync(IProgress<TrainingEvent>? progress = null, CancellationToken cancellation = default) =>
        Task.Factory.StartNew(() => Run(progress, cancellation), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>Runs on this thread.</summary>
    /// <inheritdoc cref="RunAsync"/>
    public FineTuneResult Run(IProgress<TrainingEvent>? progress = null, CancellationToken cancellation = default)
    {
        if (_options.Resume && _options.Output is null) throw FineTuneException.Usage("--resume needs --output, the directory of the run to continue.");
        string output = _options.Output ??= DefaultOutput();
        if (File.Exists(output)) throw FineTuneException.Usage($"{output} is a file, expected a directory that is new or empty; choose another --output.");
        if (!_options.Resume && Directory.Exists(output) && Directory.EnumerateFileSystemEntries(output).Any(entry => !CheckpointFiles.IsLeftover(entry)))
            throw FineTuneException.Usage($"{output} exists and is not empty; choose another --output, or continue its run with --resume.");
        if (_options.Resume && !Directory.Exists(output)) throw FineTuneException.Usage($"{output} does not exist, so there is no run to resume.");

        using var preparation = new RunPreparation(_options, cancellation);
        var hashes = new RunHashes(preparation.Base, _options);
        string fingerprint = RunDirectory.Fingerprint(_options, [hashes.Data, hashes.Validation, .. hashes.Weights.Values]);
        if (_options.Resume) RunDirectory.CheckSame(output, _options, StartedFingerprint(output) ?? fingerprint, fingerprint);
        preparation.Load();
        Directory.CreateDirectory(output);
        CheckpointFiles.RemoveLeftovers(output);
        if (!_options.Resume) RunDirectory.WriteConfig(output, _options);
        string manifest = Path.Combine(output, RunManifest.FileName);
        if (!File.Exists(manifest)) AtomicFile.Write(manifest, stream => stream.Write(Manifest(preparation, hashes).ToJson()));

        using var run = new RunExecution(preparation, fingerprint, output, e => Report(e, progress));
        return run.Execute(cancellation);
    }

    private void Report(TrainingEvent e, IProgress<TrainingEvent>? progress)
    {
        progress?.Report(e);
        switch (e)
        {
            case RunStarted started:
                Log.Started(_logger, started.Plan.Model, started.Plan.Method, started.Plan.Steps);
                break;
            case Evaluated evaluated:
                Log.Evaluated(_logger, evaluated.Step, evaluated.Loss);
                break;
            case CheckpointSaved saved:
                Log.Saved(_logger, saved.Path);
                break;
            case RunNotice notice:
                Log.Notice(_logger, notice.Message);
                break;
            case RunCompleted completed:
                Log.Completed(_logger, completed.Result.ModelPath, completed.Result.Steps);
                break;
        }
    }

    private string DefaultOutput() => Path.Combine(
        "runs", $"{Path.GetFileName(_options.Model.TrimEnd('/', '\\'))}-{_options.Method.ToString().ToLowerInvariant()}-{DateTime.Now:yyyyMMdd-HHmmss}");

    private static string? StartedFingerprint(string output)
    {
        int? newest = CheckpointFiles.Steps(output).OrderDescending().Cast<int?>().FirstOrDefault();
        string? path = newest is null ? null : Path.Combine(CheckpointFiles.PathOf(output, newest.Value), CheckpointFiles.StateName);
        return path is not null && File.Exists(path) ? TrainerState.Read(path).Fingerprint : null;
    }

    private RunManifest Manifest(RunPreparation preparation, RunHashes hashes)
    {
        DeviceInfo device = preparation.Backend.Info;
        return new RunManifest
        {
            Tool = $"FineTuneCore {typeof(FineTuner).Assembly.GetName().Version!.ToString(3)}",
            NativeLibrary = NativeLibraryLoader.Version,
            Created = DateTimeOffset.UtcNow,
            BaseModel = preparation.Base.Path,
            BaseModelSha256 = hashes.Weights,
            Method = _options.Method.ToString().ToLowerInvariant(),
            Result = _options.Method == FineTuneMethod.Full ? "model" : "adapter",
            ChatTemplate = _options.ChatTemplate is { } template && File.Exists(template) ? Path.GetFullPath(template) : _options.ChatTemplate,
            Data = Path.GetFullPath(_options.Data),
            DataSha256 = hashes.Data,
            ValidationDataSha256 = hashes.Validation,
            Seed = _options.Seed,
            Device = device.Name,
            Precision = preparation.Device.Precision.Name(),
            PackedRows = preparation.PackedRows,
            Isa = device.Isa,
            Threads = device.Threads,
            OperatingSystem = RuntimeInformation.OSDescription,
            Runtime = RuntimeInformation.FrameworkDescription,
        };
    }

    /// <summary>Checksums of what goes into a run.</summary>
    private sealed class RunHashes(ModelDirectory model, FineTuneOptions options)
    {
        internal string Data { get; } = CheckpointFiles.Hash(options.Data);

        internal string? Validation { get; } = options.ValidationData is { } file ? CheckpointFiles.Hash(file) : null;

        internal Dictionary<string, string> Weights { get; } =
            model.WeightFiles().ToDictionary(f => Path.GetFileName(f), CheckpointFiles.Hash);
    }
}
