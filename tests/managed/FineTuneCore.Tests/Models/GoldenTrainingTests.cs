using System.Text.Json;
using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Models;

/// <summary>Backward pass and optimiser against a float64 LoRA run.</summary>
public sealed class GoldenTrainingTests
{
    private const double Bf16Tolerance = 2e-2; // a handful of errors of 2^-9 in one direction

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TwentyStepsEqualTheReference(bool checkpointing)
    {
        string folder = TestData.Path("models", "stories260K", "lora_golden");
        JsonElement golden = TestData.Json("models", "stories260K", "lora_golden", "lora_golden.json");
        using TinyModel model = TinyModel.Load(
            TestData.Path("models", "stories260K"), new WeightOptions { Lora = PeftConfig.Read(folder).Options, Training = true });
        DecoderWeights weights = model.Weights;
        ReadInto(weights, Path.Combine(folder, "adapter_init.safetensors"));
        int[][] sequences = [.. golden.GetProperty("train_input_ids").EnumerateArray().Select(s => s.Ints())];
        int rows = sequences.Sum(s => s.Length), trained = rows - sequences.Length;
        using Decoder decoder = model.Decoder(checkpointing ? BufferMode.TrainingCheckpointed : BufferMode.Training, rows);
        double[] losses = golden.GetProperty("loss_before_step").Doubles();
        double[] norms = golden.GetProperty("global_grad_norm_before_step").Doubles();
        for (int step = 0; step < 20; step++)
        {
            double loss = Step(weights, decoder, sequences, trained);
            loss.Should().BeApproximately(losses[step], 1e-5, "loss of step {0}", step);
            if (step < 2) GradientsEqual(weights, Path.Combine(folder, $"gradients_step{step}.safetensors"));
            GradientNorm(weights).Should().BeApproximately(norms[step], 1e-5 * Math.Max(1, norms[step]), "norm of step {0}", step);
            Update(weights, step + 1);
        }

        Step(weights, decoder, sequences, trained).Should().BeApproximately(golden.GetProperty("loss_after_20_steps").GetDouble(), 1e-5);
        using TensorFiles final = TensorFiles.Open(Path.Combine(folder, "adapter_model.safetensors"));
        Compare(weights, final, weights.Parameters.Value, 2e-4);
    }

    /// <summary>bf16 keeps 8 bits, so that the same steps stay near the reference without meeting it.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TwentyStepsInBf16StayNearTheReference(bool checkpointing)
    {
        string folder = TestData.Path("models", "stories260K", "lora_golden");
        JsonElement golden = TestData.Json("models", "stories260K", "lora_golden", "lora_golden.json");
        using TinyModel model = TinyModel.Load(
            TestData.Path("models", "stories260K"), new WeightOptions { Lora = PeftConfig.Read(folder).Options, Training = true, Precision = Precision.Bf16 });
        DecoderWeights weights = model.Weights;
        ReadInto(weights, Path.Combine(folder, "adapter_init.safetensors"));
        int[][] sequences = [.. golden.GetProperty("train_input_ids").EnumerateArray().Select(s => s.Ints())];
        int rows = sequences.Sum(s => s.Length), trained = rows - sequences.Length;
        using Decoder decoder = model.Decoder(checkpointing ? BufferMode.TrainingCheckpointed : BufferMode.Training, rows);
        double[] losses = golden.GetProperty("loss_before_step").Doubles();
        double[] norms = golden.GetProperty("global_grad_norm_before_step").Doubles();
        for (int step = 0; step < 20; step++)
        {
            Step(weights, decoder, sequences, trained).Should().BeApproximately(losses[step], Bf16Tolerance * losses[step], "loss of step {0}", step);
            if (step < 2) GradientNorm(weights).Should().BeApproximately(norms[step], Bf16Tolerance * norms[step], "norm of step {0}", step);
            Update(weights, step + 1);
        }
    }

    private static double Step(DecoderWeights weights, Decoder decoder, int[][] sequences, int trained)
    {
        weights.Backend.Zero(weights.Parameters.FlatGradients(0, weights.Parameters.FlatCount));
        var nll = new float[sequences.Sum(s => s.Length)];
        int start = 0;
        var starts = new List<int>();
        foreach (int[] sequence in sequences)
        {
            starts.AddRange(Enumerable.Repeat(start, sequence.Length));
            start += sequence.Length;
        }

        decoder.ForwardBackward(
            new TokenBatch
            {
                Rows = nll.Length,
                Ids = [.. sequences.SelectMany(s => s)],
                Positions = [.. sequences.SelectMany(s => Enumerable.Range(0, s.Length))],
                Targets = [.. sequences.SelectMany(s => s.Skip(1).Append(-100))],
                SegmentStarts = starts.ToArray(),
                Samples = new int[nll.Length],
            },
            1f / trained, 0, nll);
        return nll.Sum(x => (double)x) / trained;
    }

    private static double GradientNorm(DecoderWeights weights)
    {
        using DeviceBuffer buffer = weights.Backend.Allocate(4, "a sum");
        var sum = FineTuneCore.Tensors.Tensor.Vector(buffer, 0, 1);
        weights.Backend.SumOfSquares(sum, weights.Parameters.FlatGradients(0, weights.Parameters.FlatCount));
        var value = new float[1];
        weights.Backend.Download<float>(value, sum);
        return Math.Sqrt(value[0]);
    }

    private static void Update(DecoderWeights weights, int step)
    {
        ParameterStore p = weights.Parameters;
        foreach ((_, long offset, long count) in p.Groups)
        {
            weights.Backend.AdamWStep(
                p.FlatValues(offset, count), p.FlatFirstMoments(offset, count), p.FlatSecondMoments(offset, count), p.FlatGradients(offset, count),
                new AdamWArguments(0.005f, 0.9f, 0.999f, 1e-8f, 0.01f, 1, step));
        }
    }

    private static void GradientsEqual(DecoderWeights weights, string path)
    {
        using TensorFiles golden = TensorFiles.Open(path);
        Compare(weights, golden, weights.Parameters.Gradient, 1e-5);
    }

    private static void Compare(DecoderWeights weights, TensorFiles golden, Func<Parameter, FineTuneCore.Tensors.Tensor> tensor, double tolerance)
    {
        foreach (Parameter parameter in weights.Parameters.Parameters)
        {
            string name = golden.Names.Single(n => n.EndsWith(parameter.Name, StringComparison.Ordinal));
            var expected = new float[parameter.Count];
            golden.Bytes(name).CopyTo(System.Runtime.InteropServices.MemoryMarshal.AsBytes(expected.AsSpan()));
            var actual = new float[parameter.Count];
            weights.Backend.Download<float>(actual, tensor(parameter));
            for (int i = 0; i < expected.Length; i++)
                ((double)actual[i]).Should().BeApproximately(expected[i], tolerance, "{0}[{1}]", name, i);
        }
    }

    private static void ReadInto(DecoderWeights weights, string path)
    {
        using TensorFiles files = TensorFiles.Open(path);
        foreach (Parameter parameter in weights.Parameters.Parameters)
        {
            string name = files.Names.Single(n => n.EndsWith(parameter.Name, StringComparison.Ordinal));
            weights.Backend.Upload<byte>(weights.Parameters.Value(parameter), files.Bytes(name));
        }
    }
}
