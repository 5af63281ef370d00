using System.Text.Json;
using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FineTuneCore.Tests;

namespace FineTuneCore.Conformance.Tests.Training;

/// <summary>The reference model with the adapter of its golden run, on the golden's sequences or the first rows of them.</summary>
internal sealed class TrainedModel : IDisposable
{
    private readonly DecoderWeights _weights;
    private readonly Decoder _decoder;
    private readonly int[][] _sequences;
    private int _updates;

    internal TrainedModel(IBackend backend, BaseFormat format, bool checkpointing, int rows = int.MaxValue)
    {
        string folder = TestData.Path("models", "stories260K", "lora_golden");
        JsonElement golden = TestData.Json("models", "stories260K", "lora_golden", "lora_golden.json");
        ModelDirectory model = ModelDirectory.Resolve(TestData.Path("models", "stories260K"));
        var options = new WeightOptions { Lora = PeftConfig.Read(folder).Options, Training = true, Format = format };
        _weights = DecoderWeights.Load(model, ModelConfig.Load(model.ConfigPath), backend, options);
        using TensorFiles files = TensorFiles.Open(Path.Combine(folder, "adapter_init.safetensors"));
        foreach (Parameter parameter in _weights.Parameters.Parameters)
        {
            string name = files.Names.Single(n => n.EndsWith(parameter.Name, StringComparison.Ordinal));
            backend.Upload<byte>(_weights.Parameters.Value(parameter), files.Bytes(name));
        }

        _sequences = [.. golden.GetProperty("train_input_ids").EnumerateArray().Select(s => s.Ints())];
        if (rows < int.MaxValue) _sequences = [[.. Enumerable.Repeat(_sequences.SelectMany(s => s), 8).SelectMany(s => s).Take(rows)]];
        int all = _sequences.Sum(s => s.Length);
        _decoder = new Decoder(_weights, checkpointing ? BufferMode.TrainingCheckpointed : BufferMode.Training, all, all);
    }

    /// <summary>Loss before a step, then the step.</summary>
    internal double Step()
    {
        ParameterStore parameters = _weights.Parameters;
        _weights.Backend.Zero(parameters.FlatGradients(0, parameters.FlatCount));
        int[] lengths = [.. _sequences.Select(s => s.Length)];
        var nll = new float[lengths.Sum()];
        int trained = nll.Length - lengths.Length;
        _decoder.ForwardBackward(
            new TokenBatch
            {
                Rows = nll.Length,
                Ids = [.. _sequences.SelectMany(s => s)],
                Positions = [.. lengths.SelectMany(n => Enumerable.Range(0, n))],
                Targets = [.. _sequences.SelectMany(s => s.Skip(1).Append(-100))],
                SegmentStarts = [.. lengths.SelectMany((n, i) => Enumerable.Repeat(lengths.Take(i).Sum(), n))],
                Samples = new int[nll.Length],
            },
            1f / trained, 0, nll);
        _updates++;
        foreach ((_, long offset, long count) in parameters.Groups)
        {
            _weights.Backend.AdamWStep(
                parameters.FlatValues(offset, count), parameters.FlatFirstMoments(offset, count), parameters.FlatSecondMoments(offset, count),
                parameters.FlatGradients(offset, count), new AdamWArguments(0.005f, 0.9f, 0.999f, 1e-8f, 0.01f, 1, _updates));
        }

        return nll.Sum(x => (double)x) / trained;
    }

    public void Dispose()
    {
        _decoder.Dispose();
        _weights.Dispose();
    }
}
