using FineTuneCore.Training;

namespace FineTuneCore.Tests.Training;

/// <summary>Runs of the whole trainer on the reference model with a few short texts, and what they reported.</summary>
internal sealed class StoriesRun : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ftc-run-").FullName;

    internal StoriesRun()
    {
        Data = Write("train.jsonl", Lines("Tim", 8));
        Validation = Write("validation.jsonl", Lines("A big robot", 4));
    }

    internal string Data { get; set; }

    internal string Validation { get; }

    internal string Place(string name) => Path.Combine(_directory, name);

    /// <summary>Four steps of LoRA with rank 4 unless changed; cancelled after a step where one is named.</summary>
    internal (FineTuneResult Result, List<TrainingEvent> Events) Train(string name, Action<FineTuneOptions>? change = null, int? stopAfter = null)
    {
        var options = new FineTuneOptions
        {
            Model = TestData.Path("models", "stories260K"), Data = Data, ValidationData = Validation, Output = Place(name), Rank = 4, LearningRate = 5e-3, MaxSteps = 4,
            EvalEvery = 2, CheckpointEvery = 2, EarlyStopping = 0, Threads = 1, MicroBatchSize = 2, Packing = false, Device = TestDevice.Name, Precision = "fp32",
        };
        change?.Invoke(options);
        using var cancellation = new CancellationTokenSource();
        var events = new Collector(e =>
        {
            if (e is StepCompleted step && step.Step == stopAfter) cancellation.Cancel();
        });
        return (new FineTuner(options).Run(events, cancellation.Token), events.Events);
    }

    internal string Write(string name, string text)
    {
        File.WriteAllText(Place(name), text);
        return Place(name);
    }

    private static string Lines(string who, int count) => string.Concat(Enumerable.Range(0, count).Select(i =>
        $"{{\"prompt\": \"{who} went to park number {i}\", \"completion\": \" and saw a dog. It was happy.\"}}\n"));

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private sealed class Collector(Action<TrainingEvent> watch) : IProgress<TrainingEvent>
    {
        internal List<TrainingEvent> Events { get; } = [];

        public void Report(TrainingEvent value)
        {
            Events.Add(value);
            watch(value);
        }
    }
}
