using System.Text.Json.Nodes;
using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Models;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Models;

/// <summary>Gradients of the whole model, block by block, against finite differences of its loss.</summary>
public sealed class GradientTests
{
    private const int Rows = 23;

    [Theory]
    [InlineData("llama", false)]
    [InlineData("llama", true)]
    [InlineData("qwen2", false)]
    [InlineData("qwen3", true)]
    [InlineData("mistral", false)]
    public void EveryTrainedTensorHasTheGradientOfTheLoss(string modelType, bool checkpointing)
    {
        using var checkpoint = new RandomCheckpoint(Config(modelType));
        Check(checkpoint, new WeightOptions { TrainAll = true, Training = true }, checkpointing);
    }

    [Theory]
    [InlineData(0.0)]
    [InlineData(0.25)]
    public void AdaptersWithAndWithoutDropoutHaveTheGradientOfTheLoss(double dropout)
    {
        using var checkpoint = new RandomCheckpoint(Config("qwen2"));
        Check(checkpoint, new WeightOptions { Lora = new LoraOptions { Rank = 5, Dropout = dropout, ModulesToSave = ["norm", "lm_head"] }, Training = true, Seed = 3 }, true);
    }

    [Fact]
    public void AdaptersOverNf4HaveTheGradientOfTheLoss()
    {
        using var checkpoint = new RandomCheckpoint(Config("llama"));
        Check(checkpoint, new WeightOptions { Format = BaseFormat.Nf4, Lora = new LoraOptions { Rank = 3, LayersToTransform = [1] }, Training = true }, false);
    }

    private static string Config(string modelType) => RandomCheckpoint.Llama(
        ("model_type", modelType), ("tie_word_embeddings", modelType == "qwen3"), ("sliding_window", modelType == "mistral" ? JsonValue.Create(7) : null),
        ("head_dim", modelType == "qwen3" ? 10 : 12), ("attention_bias", modelType == "llama"), ("mlp_bias", modelType == "llama"));

    private static void Check(RandomCheckpoint checkpoint, WeightOptions options, bool checkpointing)
    {
        using TinyModel model = TinyModel.Load(checkpoint.Directory, options);
        DecoderWeights weights = model.Weights;
        if (options.Lora is not null) FillAdapters(weights);
        using Decoder decoder = model.Decoder(checkpointing ? BufferMode.TrainingCheckpointed : BufferMode.Training, Rows);
        Loss(weights, decoder);
        weights.Backend.Zero(weights.Parameters.FlatGradients(0, weights.Parameters.FlatCount));
        Loss(weights, decoder);
        float[][] gradients = [.. weights.Parameters.Parameters.Select(p => Read(weights, p, gradient: true))];
        var random = new Random(5);
        for (int i = 0; i < gradients.Length; i++)
        {
            Parameter parameter = weights.Parameters.Parameters[i];
            float[] direction = [.. Enumerable.Range(0, (int)parameter.Count).Select(_ => random.Next(2) == 0 ? -1f : 1f)];
            double analytic = gradients[i].Zip(direction, (g, d) => (double)g * d).Sum();
            double numeric = Derivative(weights, decoder, parameter, direction);
            double scale = Math.Sqrt(gradients[i].Sum(g => (double)g * g));
            Math.Abs(analytic - numeric).Should().BeLessThan(0.01 * scale + 2e-4, "derivative of the loss along a random direction of {0} is {1}, the gradient says {2}", parameter.Name, numeric, analytic);
        }
    }

    /// <summary>Central difference along ±direction; the step keeps fp32 rounding and curvature both small.</summary>
    private static double Derivative(DecoderWeights weights, Decoder decoder, Parameter parameter, float[] direction)
    {
        float[] values = Read(weights, parameter, gradient: false);
        double step = 5e-4 / Math.Sqrt(Math.Max(1, parameter.Count / 64.0));
        double At(double sign)
        {
            float[] moved = [.. values.Zip(direction, (v, d) => (float)(v + sign * step * d))];
            weights.Backend.Upload<float>(weights.Parameters.Value(parameter), moved);
            return Loss(weights, decoder);
        }

        double difference = At(1) - At(-1);
        weights.Backend.Upload<float>(weights.Parameters.Value(parameter), values);
        return difference / (2 * step);
    }

    /// <summary>Two packed samples, some rows ignored; the sum over trained rows, so that gradients are of the size of one.</summary>
    private static double Loss(DecoderWeights weights, Decoder decoder)
    {
        int[] ids = [.. Enumerable.Range(0, Rows).Select(i => (i * 17 + 3) % weights.Config.VocabSize)];
        int[] starts = [.. Enumerable.Range(0, Rows).Select(i => i < 9 ? 0 : 9)];
        var nll = new float[Rows];
        decoder.ForwardBackward(
            new TokenBatch
            {
                Rows = Rows,
                Ids = ids,
                Positions = starts.Select((s, i) => i - s).ToArray(),
                Targets = ids.Select((_, i) => i is 8 or 22 or 3 or 12 ? -100 : ids[i + 1]).ToArray(),
                SegmentStarts = starts,
                Samples = starts.Select(s => s == 0 ? 4 : 11).ToArray(),
            },
            1f, 7, nll);
        return nll.Sum(x => (double)x);
    }

    private static float[] Read(DecoderWeights weights, Parameter parameter, bool gradient)
    {
        var values = new float[parameter.Count];
        weights.Backend.Download<float>(values, gradient ? weights.Parameters.Gradient(parameter) : weights.Parameters.Value(parameter));
        return values;
    }

    private static void FillAdapters(DecoderWeights weights)
    {
        var random = new Random(9);
        foreach (Parameter parameter in weights.Parameters.Parameters.Where(p => p.Name.Contains("lora_", StringComparison.Ordinal)))
        {
            float[] values = [.. Enumerable.Range(0, (int)parameter.Count).Select(_ => (float)(0.2 * (2 * random.NextDouble() - 1)))];
            weights.Backend.Upload<float>(weights.Parameters.Value(parameter), values);
        }
    }
}
