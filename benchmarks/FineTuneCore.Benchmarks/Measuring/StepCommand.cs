using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Measuring;

/// <summary>The same training step with the trainer of this repository: its loader, decoder, parameter store and optimiser.</summary>
internal static class StepCommand
{
    internal static void Run(Arguments arguments, int threads, string checkpoints)
    {
        string precision = arguments.Text("precision", "fp32", "fp32", "bf16"), method = arguments.Text("method", "lora", "lora", "qlora");
        int steps = arguments.Number("steps", 8), warmup = arguments.Number("warmup", 3), neighbour = arguments.Number("neighbour", 0, least: 0);
        arguments.RefuseOthers();
        LoraStep.CheckGenerator();
        using NativeBackend backend = Output.Open(threads);
        using DecoderWeights weights = Load(backend, StepCheckpoint.Directory(checkpoints, precision == "bf16"), precision, method);
        using var decoder = new Decoder(weights, BufferMode.Training, LoraStep.Tokens, LoraStep.SequenceLength);
        (int[] Ids, int[] Targets)[] batches = [.. Enumerable.Range(0, LoraStep.Batches).Select(LoraStep.Batch)];
        Output.Start(backend, "step", precision, ("method", method), ("trainable", weights.Parameters.TrainableCount));
        int[] positions = [.. Enumerable.Range(0, LoraStep.Tokens).Select(row => row % LoraStep.SequenceLength)];
        int[] starts = [.. positions.Select((position, row) => row - position)];
        var samples = new int[LoraStep.Tokens];
        var nll = new float[LoraStep.Tokens];
        StepTimer.Run(warmup, steps, neighbour, step =>
        {
            (int[] ids, int[] targets) = batches[step % LoraStep.Batches];
            ParameterStore parameters = weights.Parameters;
            backend.Zero(parameters.FlatGradients(0, parameters.FlatCount));
            decoder.ForwardBackward(
                new TokenBatch { Rows = LoraStep.Tokens, Tokens = LoraStep.Tokens, Ids = ids, Positions = positions, Targets = targets, SegmentStarts = starts, Samples = samples },
                1f / LoraStep.Tokens, (uint)step, nll);
            Update(backend, parameters, step + 1);
            double loss = 0;
            foreach (float value in nll) loss += value;
            return loss / LoraStep.Tokens;
        });
    }

    private static DecoderWeights Load(NativeBackend backend, string directory, string precision, string method)
    {
        ModelDirectory model = ModelDirectory.Resolve(directory);
        var options = new WeightOptions
        {
            Format = method == "qlora" ? BaseFormat.Nf4 : BaseFormat.AsStored,
            Precision = precision == "bf16" ? Precision.Bf16 : Precision.Fp32,
            Lora = new LoraOptions { Rank = LoraStep.Rank, Alpha = LoraStep.Alpha },
            Training = true,
        };
        DecoderWeights weights = DecoderWeights.Load(model, ModelConfig.Load(model.ConfigPath), backend, options);
        Dictionary<string, StepMatrix> matrices = LoraStep.Matrices().ToDictionary(m => m.Module);
        foreach (LoraLayer layer in weights.Lora.Values)
        {
            StepMatrix matrix = matrices[layer.Module];
            Tensor a = weights.Parameters.Value(layer.A);
            backend.Upload<float>(a, LoraStep.AdapterA(in matrix));
            backend.Zero(weights.Parameters.Value(layer.B));
        }

        return weights;
    }

    private static void Update(NativeBackend backend, ParameterStore p, int step)
    {
        foreach ((_, long offset, long count) in p.Groups)
        {
            backend.AdamWStep(
                p.FlatValues(offset, count), p.FlatFirstMoments(offset, count), p.FlatSecondMoments(offset, count), p.FlatGradients(offset, count),
                new AdamWArguments(LoraStep.LearningRate, LoraStep.Beta1, LoraStep.Beta2, LoraStep.Epsilon, WeightDecay: 0, GradientScale: 1, step));
        }
    }
}
