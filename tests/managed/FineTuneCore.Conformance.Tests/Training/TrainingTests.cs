using System.Diagnostics;
using System.Text.Json;
using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Conformance.Tests.Devices;
using FineTuneCore.Files;
using FineTuneCore.Generation;
using FineTuneCore.Models;
using FineTuneCore.Tensors;
using FineTuneCore.Tests;
using FineTuneCore.Training;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Conformance.Tests.Training;

/// <summary>Whole training on OpenCL: the reference model's losses, QLoRA against the CPU, a resumed run, generation.</summary>
public sealed class TrainingTests
{
    private const double Tolerance = 1e-4;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TwentyStepsEqualTheReference(bool checkpointing)
    {
        JsonElement golden = TestData.Json("models", "stories260K", "lora_golden", "lora_golden.json");
        double[] losses = Losses(TestDevice.OpenCl.Required(), BaseFormat.AsStored, checkpointing);
        Near(losses[..20], golden.GetProperty("loss_before_step").Doubles());
        losses[20].Should().BeApproximately(golden.GetProperty("loss_after_20_steps").GetDouble(), Tolerance);
    }

    [Fact]
    public void TwentyStepsOnNf4WeightsEqualTheCpus() =>
        Near(Losses(TestDevice.OpenCl.Required(), BaseFormat.Nf4, checkpointing: false), Losses(new TestDevice.Cpu().Backend, BaseFormat.Nf4, checkpointing: false));

    [Theory]
    [InlineData(FineTuneMethod.Lora)]
    [InlineData(FineTuneMethod.QLora)]
    [InlineData(FineTuneMethod.Full)]
    public void AResumedRunEqualsAnUninterruptedOne(FineTuneMethod method)
    {
        TestDevice.OpenCl.Required();
        using var run = new OpenClRun();
        FineTuneResult whole = run.Train("whole", method);
        run.Train("parts", method, stopAfter: 2);
        FineTuneResult parts = run.Train("parts", method, resume: true);
        (parts.Steps, parts.FinalTrainLoss).Should().Be((whole.Steps, whole.FinalTrainLoss));
        foreach (string file in Directory.GetFiles(whole.ModelPath, "*.safetensors"))
            File.ReadAllBytes(Path.Combine(parts.ModelPath, Path.GetFileName(file))).Should().Equal(File.ReadAllBytes(file));
    }

    [Fact]
    public void TheGreedyStoryEqualsTheReference()
    {
        TestDevice.OpenCl.Required();
        JsonElement golden = TestData.Json("models", "stories260K", "golden_generation.json");
        using LanguageModel model = LanguageModel.Load(TestData.Path("models", "stories260K"), device: "opencl:0");
        int[] prompt = golden.GetProperty("prompt_ids").Ints(), expected = golden.GetProperty("output_ids").Ints()[..60];
        prompt.Concat(model.GenerateIds(prompt, new SamplingOptions { MaxTokens = expected.Length - prompt.Length })).Should().Equal(expected);
    }

    [Theory]
    [InlineData("opencl:7", "--device opencl:7: this machine has opencl:0 to opencl:0; choose one of these.*")]
    public void ADeviceThatIsNotThereIsRefused(string device, string message)
    {
        TestDevice.OpenCl.Required();
        Action open = () => Device.Open(device, "auto");
        open.Should().Throw<FineTuneException>().WithMessage(message);
    }

    [Fact]
    public void WhatOpenClLacksIsRefusedByName()
    {
        TestDevice.OpenCl.Required();
        using var run = new OpenClRun();
        Action paged = () => run.Train("paged", FineTuneMethod.Lora, change: o => o.Optimizer = OptimizerKind.PagedAdamW);
        paged.Should().Throw<FineTuneException>().WithMessage("--optimizer paged-adamw *OpenCL reaches no host memory*");
        Action streamed = () => run.Train("streamed", FineTuneMethod.Lora, change: o => o.ResidentLayers = 1);
        streamed.Should().Throw<FineTuneException>().WithMessage("--resident-layers *through OpenCL nothing is streamed*");
        Action graphs = () => run.Train("graphs", FineTuneMethod.Lora, change: o => o.CudaGraphs = CudaGraphs.On);
        graphs.Should().Throw<FineTuneException>().WithMessage("--cuda-graphs on: OpenCL records no graphs*");
    }

    /// <summary>The loss before each of 20 steps, and after the last.</summary>
    private static double[] Losses(IBackend backend, BaseFormat format, bool checkpointing)
    {
        string folder = TestData.Path("models", "stories260K", "lora_golden");
        JsonElement golden = TestData.Json("models", "stories260K", "lora_golden", "lora_golden.json");
        ModelDirectory model = ModelDirectory.Resolve(TestData.Path("models", "stories260K"));
        var options = new WeightOptions { Lora = PeftConfig.Read(folder).Options, Training = true, Format = format };
        using DecoderWeights weights = DecoderWeights.Load(model, ModelConfig.Load(model.ConfigPath), backend, options);
        ReadAdapter(weights, Path.Combine(folder, "adapter_init.safetensors"));
        int[][] sequences = [.. golden.GetProperty("train_input_ids").EnumerateArray().Select(s => s.Ints())];
        int rows = sequences.Sum(s => s.Length), trained = rows - sequences.Length;
        using var decoder = new Decoder(weights, checkpointing ? BufferMode.TrainingCheckpointed : BufferMode.Training, rows, rows);
        var losses = new double[21];
        for (int step = 0; step <= 20; step++)
        {
            losses[step] = Step(weights, decoder, sequences, trained);
            Update(weights, step + 1);
        }

        return losses;
    }

    private static double Step(DecoderWeights weights, Decoder decoder, int[][] sequences, int trained)
    {
        ParameterStore parameters = weights.Parameters;
        weights.Backend.Zero(parameters.FlatGradients(0, parameters.FlatCount));
        int[] lengths = [.. sequences.Select(s => s.Length)];
        var nll = new float[lengths.Sum()];
        decoder.ForwardBackward(
            new TokenBatch
            {
                Rows = nll.Length,
                Ids = [.. sequences.SelectMany(s => s)],
                Positions = [.. lengths.SelectMany(n => Enumerable.Range(0, n))],
                Targets = [.. sequences.SelectMany(s => s.Skip(1).Append(-100))],
                SegmentStarts = [.. lengths.SelectMany((n, i) => Enumerable.Repeat(lengths.Take(i).Sum(), n))],
                Samples = new int[nll.Length],
            },
            1f / trained, 0, nll);
        return nll.Sum(x => (double)x) / trained;
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

    private static void ReadAdapter(DecoderWeights weights, string path)
    {
        using TensorFiles files = TensorFiles.Open(path);
        foreach (Parameter parameter in weights.Parameters.Parameters)
        {
            string name = files.Names.Single(n => n.EndsWith(parameter.Name, StringComparison.Ordinal));
            weights.Backend.Upload<byte>(weights.Parameters.Value(parameter), files.Bytes(name));
        }
    }

    private static void Near(double[] actual, double[] expected)
    {
        actual.Length.Should().Be(expected.Length);
        for (int i = 0; i < expected.Length; i++) actual[i].Should().BeApproximately(expected[i], Tolerance, "loss of step {0}", i);
    }
}
