using FineTuneCore.Tests;
using FineTuneCore.Training;

namespace FineTuneCore.Conformance.Tests.Training;

/// <summary>Short runs of the whole trainer on the first OpenCL device.</summary>
internal sealed class OpenClRun : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ftc-opencl-").FullName;
    private readonly string _data;

    internal OpenClRun()
    {
        _data = Path.Combine(_directory, "train.jsonl");
        File.WriteAllLines(_data, Enumerable.Range(0, 8).Select(i => $"{{\"prompt\": \"Tim went to park number {i}\", \"completion\": \" and saw a dog. It was happy.\"}}"));
    }

    /// <summary>Four steps with dropout; cancelled after one where it is named.</summary>
    internal FineTuneResult Train(string name, FineTuneMethod method, int? stopAfter = null, bool resume = false, Action<FineTuneOptions>? change = null)
    {
        var options = new FineTuneOptions
        {
            Model = TestData.Path("models", "stories260K"), Data = _data, Output = Path.Combine(_directory, name), Method = method, LearningRate = 5e-3, MaxSteps = 4,
            CheckpointEvery = 2, MicroBatchSize = 2, Device = "opencl:0", Resume = resume,
        };
        if (method != FineTuneMethod.Full) (options.Rank, options.Dropout) = (4, 0.1);
        change?.Invoke(options);
        using var cancellation = new CancellationTokenSource();
        return new FineTuner(options).Run(new Watch(stopAfter, cancellation), cancellation.Token);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private sealed class Watch(int? stopAfter, CancellationTokenSource cancellation) : IProgress<TrainingEvent>
    {
        public void Report(TrainingEvent value)
        {
            if (value is StepCompleted step && step.Step == stopAfter) cancellation.Cancel();
        }
    }
}
