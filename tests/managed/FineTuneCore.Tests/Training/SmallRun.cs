using FineTuneCore.Adapters;
using FineTuneCore.Data;
using FineTuneCore.Models;
using FineTuneCore.Tests.Models;
using FineTuneCore.Training;

namespace FineTuneCore.Tests.Training;

/// <summary>A training loop over a random checkpoint and random samples of different lengths; the same numbers for the same seed.</summary>
internal sealed class SmallRun : IDisposable
{
    private readonly RandomCheckpoint _checkpoint;
    private readonly TinyModel _model;
    private readonly Decoder _decoder;

    internal SmallRun(
        string config, WeightOptions weights, FineTuneOptions? options = null, bool packing = false, BufferMode mode = BufferMode.Training, int threads = 1,
        int samples = 24)
    {
        options ??= new FineTuneOptions { MicroBatchSize = 2, LearningRate = 1e-2 };
        _checkpoint = new RandomCheckpoint(config);
        _model = TinyModel.Load(_checkpoint.Directory, weights with { Training = true, State = options.Optimizer.State() }, threads);
        if (weights.Lora is not null) LoraInitialiser.Initialise(_model.Weights, seed: 3);
        TokenizedDataset data = Data(_model.Weights.Config.VocabSize, samples);
        int[] all = [.. Enumerable.Range(0, data.Count)];
        int[][] rows = packing ? Packing.BestFitDecreasing(all, data.LengthOf, capacity: 32) : Packing.Unpacked(all);
        Batches = new BatchSource(data, rows, options.MicroBatchSize, options.AccumulationSteps, seed: 11);
        _decoder = new Decoder(Weights, mode, Batches.MaxRows, 32);
        Loop = new TrainingLoop(Weights, _decoder, Batches, options, new LearningRateSchedule(ScheduleKind.Constant, options.LearningRate!.Value, 0, 1000));
    }

    internal DecoderWeights Weights => _model.Weights;

    internal BatchSource Batches { get; }

    internal TrainingLoop Loop { get; }

    internal long NativeBytes => _model.Backend.Info.MemoryUsedBytes;

    /// <summary>Losses of the first steps.</summary>
    internal double[] Losses(int steps) => [.. Enumerable.Range(0, steps).Select(i => Loop.Run(i, i).Loss)];

    /// <summary>Every trained number as it is now.</summary>
    internal byte[] Trained() => [.. Weights.Parameters.Parameters.SelectMany(p => AdapterFiles.Bytes(Weights, p))];

    /// <summary>Gradients of the last step, in the order of the parameters.</summary>
    internal float[] Gradients()
    {
        var all = new List<float>();
        foreach (Parameter p in Weights.Parameters.Parameters)
        {
            var values = new float[p.Count];
            Weights.Backend.Download<float>(values, Weights.Parameters.Gradient(p));
            all.AddRange(values);
        }

        return [.. all];
    }

    public void Dispose()
    {
        Loop.Dispose();
        _decoder.Dispose();
        _model.Dispose();
        _checkpoint.Dispose();
    }

    private static TokenizedDataset Data(int vocabulary, int samples)
    {
        var random = new Random(9);
        var data = new TokenizedDataset();
        for (int i = 0; i < samples; i++)
        {
            int length = random.Next(5, 21), prompt = random.Next(1, length - 2);
            data.Add(new TokenizedExample(
                [.. Enumerable.Range(0, length).Select(_ => random.Next(vocabulary))], [.. Enumerable.Range(0, length).Select(t => (byte)(t >= prompt ? 1 : 0))],
                new SourceLocation("random.jsonl", i + 1)));
        }

        return data;
    }
}
