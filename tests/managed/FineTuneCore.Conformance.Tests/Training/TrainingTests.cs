using System.Text.Json;
using FineTuneCore.Backends;
using FineTuneCore.Conformance.Tests.Devices;
using FineTuneCore.Generation;
using FineTuneCore.Models;
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
        using var model = new TrainedModel(backend, format, checkpointing);
        return [.. Enumerable.Range(0, 21).Select(_ => model.Step())];
    }

    private static void Near(double[] actual, double[] expected)
    {
        actual.Length.Should().Be(expected.Length);
        for (int i = 0; i < expected.Length; i++) actual[i].Should().BeApproximately(expected[i], Tolerance, "loss of step {0}", i);
    }
}
