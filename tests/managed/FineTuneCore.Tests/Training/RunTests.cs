using System.Text.Json;
using FineTuneCore.Files;
using FineTuneCore.Training;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Training;

/// <summary>What a whole run does beside its steps: stopping, watching, recording, starting from what was there.</summary>
public sealed class RunTests
{
    [Fact]
    public void EarlyStoppingEndsTheRunAndTheBestWeightsAreSaved()
    {
        using var run = new StoriesRun();
        run.Data = run.Write("train.jsonl", "{\"prompt\": \"Tim\", \"completion\": \" zzz qqq xxx.\"}\n{\"prompt\": \"Sam\", \"completion\": \" qqq xxx zzz.\"}\n");
        (FineTuneResult result, List<TrainingEvent> events) = run.Train("run", o => (o.MaxSteps, o.EvalEvery, o.EarlyStopping, o.LearningRate, o.WarmupSteps) = (200, 1, 3, 2e-3, 0));
        result.StoppedEarly.Should().BeTrue();
        result.Steps.Should().BeLessThan(200);
        Evaluated[] evaluations = [.. events.OfType<Evaluated>()];
        Evaluated best = evaluations.Where(e => e.Step > 0).MinBy(e => e.Loss)!;
        if (best.Loss < evaluations[0].Loss)
        {
            result.BestStep.Should().Be(best.Step);
            result.FinalValidationLoss.Should().Be(best.Loss);
            Adapter(result.ModelPath).Should().Equal(Adapter(run.Place($"run/checkpoint-{best.Step}")), "the best weights are the ones saved");
        }
        else
        {
            events.OfType<RunNotice>().Should().Contain(n => n.Message.Contains("never fell below that of the base model"));
        }
    }

    [Fact]
    public void TheBestOfALongerRunIsRestored()
    {
        TestDevice.CpuOnly("when this run overfits follows from the CPU's roundings");
        // Learns, then overfits: the lowest validation loss lies in between and its checkpoint is kept though older ones are pruned.
        using var run = new StoriesRun();
        (FineTuneResult result, List<TrainingEvent> events) = run.Train(
            "run", o => (o.MaxSteps, o.EvalEvery, o.CheckpointEvery, o.KeepCheckpoints, o.LearningRate, o.Schedule) = (60, 2, 2, 1, 3e-2, ScheduleKind.Constant));
        Evaluated best = events.OfType<Evaluated>().MinBy(e => e.Loss)!;
        best.Step.Should().BeInRange(2, 58, "this run is made to overfit");
        (result.BestStep, result.FinalValidationLoss).Should().Be((best.Step, best.Loss));
        Adapter(result.ModelPath).Should().Equal(Adapter(run.Place($"run/checkpoint-{best.Step}"))).And.NotEqual(Adapter(run.Place("run/checkpoint-60")));
        CheckpointFiles.Steps(run.Place("run")).Should().BeEquivalentTo([best.Step, 60], "one checkpoint and the best are kept");
    }

    [Fact]
    public void NumbersThatAreNotFiniteStopTheRunAndNameTheRemedy()
    {
        using var run = new StoriesRun();
        var events = new List<TrainingEvent>();
        Action act = () => run.Train("run", o =>
            (o.Optimizer, o.LearningRate, o.ClipNorm, o.MaxSteps, o.WarmupSteps, o.EvalEvery, o.CheckpointEvery, o.Alpha) = (OptimizerKind.Sgd, 10, 0, 100, 0, 100, 1, 1e4));
        act.Should().Throw<FineTuneException>().WithMessage("*not finite*3 steps in a row*lower --learning-rate*").Which.Kind.Should().Be(FailureKind.Failed);
        Directory.Exists(run.Place("run/adapter")).Should().BeFalse("a broken adapter is never saved as a result");
        File.ReadLines(run.Place("run/metrics.jsonl")).Should().Contain(l => l.Contains("\"skipped\":true")).And.OnlyContain(l => IsJson(l));
    }

    [Fact]
    public void AModelWhoseLossIsNotFiniteIsRefused()
    {
        using var run = new StoriesRun();
        string model = run.Place("model");
        Directory.CreateDirectory(model);
        foreach (string file in Directory.EnumerateFiles(TestData.Path("models", "stories260K"))) File.Copy(file, Path.Combine(model, Path.GetFileName(file)));
        string weights = Path.Combine(model, "model.safetensors");
        byte[] bytes = File.ReadAllBytes(weights);
        Array.Fill(bytes, (byte)0xFF, bytes.Length - 4096, 4096); // NaN
        File.WriteAllBytes(weights, bytes);
        Action act = () => run.Train("run", o => o.Model = model);
        act.Should().Throw<FineTuneException>().WithMessage("*validation loss*NaN*");
    }

    [Fact]
    public void MetricsAndTrainerStateSayWhatHappened()
    {
        using var run = new StoriesRun();
        (FineTuneResult result, List<TrainingEvent> events) = run.Train("run");
        JsonElement[] lines = [.. File.ReadLines(run.Place("run/metrics.jsonl")).Select(l => JsonDocument.Parse(l).RootElement)];
        StepCompleted[] steps = [.. events.OfType<StepCompleted>()];
        JsonElement[] logged = [.. lines.Where(l => l.TryGetProperty("loss", out _))];
        logged.Select(l => l.GetProperty("step").GetInt32()).Should().Equal(1, 2, 3, 4);
        logged.Select(l => l.GetProperty("loss").GetDouble()).Should().Equal(steps.Select(s => s.Loss));
        logged.Select(l => l.GetProperty("grad_norm").GetDouble()).Should().Equal(steps.Select(s => s.GradientNorm));
        logged.Select(l => l.GetProperty("learning_rate").GetDouble()).Should().Equal(steps.Select(s => s.LearningRate));
        lines.Where(l => l.TryGetProperty("eval_loss", out _)).Select(l => (l.GetProperty("step").GetInt32(), l.GetProperty("eval_loss").GetDouble()))
            .Should().Equal(events.OfType<Evaluated>().Select(e => (e.Step, e.Loss)));

        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(run.Place("run/checkpoint-4/trainer_state.json")));
        JsonElement state = document.RootElement;
        (state.GetProperty("global_step").GetInt32(), state.GetProperty("max_steps").GetInt32()).Should().Be((4, 4));
        state.GetProperty("best_metric").GetDouble().Should().Be(events.OfType<Evaluated>().Min(e => e.Loss));
        state.GetProperty("log_history").GetArrayLength().Should().Be(lines.Length);
        File.Exists(Path.Combine(result.Output, "report.html")).Should().BeTrue();
    }

    [Theory]
    [InlineData(OptimizerKind.Sgd, 0.3)]
    [InlineData(OptimizerKind.AdamW, 1e-2)]
    [InlineData(OptimizerKind.AdamW8Bit, 1e-2)]
    public void ValidationLossFalls(OptimizerKind optimizer, double rate)
    {
        using var run = new StoriesRun();
        (FineTuneResult result, _) = run.Train("run", o => (o.Optimizer, o.LearningRate, o.MaxSteps, o.WarmupSteps) = (optimizer, rate, 12, 0));
        result.FinalValidationLoss.Should().BeLessThan(0.9 * result.InitialValidationLoss!.Value);
    }

    [Theory]
    [InlineData(FineTuneMethod.Lora, 1e-2)]
    [InlineData(FineTuneMethod.Full, 1e-3)] // at twice the rate the rows are known by heart, and any last bit decides about a tenth of the loss
    public void StatesOfEightBitsReachTheLossOfThirtyTwo(FineTuneMethod method, double rate)
    {
        TestDevice.CpuOnly("a hundred steps take minutes on the simulator; CUDA's update is held to the same reference as the CPU's");
        using var run = new StoriesRun();
        double Final(OptimizerKind optimizer)
        {
            (FineTuneResult result, _) = run.Train($"{method} {optimizer}", o => (o.Method, o.Optimizer, o.LearningRate, o.MaxSteps, o.WarmupSteps, o.EvalEvery, o.CheckpointEvery) = (method, optimizer, rate, 24, 2, 24, 24));
            result.FinalValidationLoss.Should().BeLessThan(0.7 * result.InitialValidationLoss!.Value);
            return result.FinalValidationLoss!.Value;
        }

        double wide = Final(OptimizerKind.AdamW);
        Final(OptimizerKind.AdamW8Bit).Should().BeApproximately(wide, 0.05 * wide);
    }

    [Theory]
    [InlineData(OptimizerKind.AdamW8Bit)]
    [InlineData(OptimizerKind.Sgd)]
    public void AStateComesBackFromACheckpointBitForBit(OptimizerKind optimizer)
    {
        using var run = new StoriesRun();
        void Set(FineTuneOptions o) => (o.Optimizer, o.LearningRate, o.MaxSteps, o.ModulesToSave) = (optimizer, 1e-2, 6, ["norm"]);
        run.Train("whole", Set);
        run.Train("parts", Set, stopAfter: 3).Result.Cancelled.Should().BeTrue();
        run.Train("parts", o =>
        {
            Set(o);
            o.Resume = true;
        });
        Adapter(run.Place("parts/adapter")).Should().Equal(Adapter(run.Place("whole/adapter")));
        using TensorFiles state = TensorFiles.Open(run.Place("whole/checkpoint-6/optimizer.safetensors"));
        state.Names.Should().OnlyContain(n => n.EndsWith(".m") || n.EndsWith(".v") || n.EndsWith(".m_absmax") || n.EndsWith(".v_absmax"));
        state.Require("model.norm.weight.m", 1, 64).Type.Should().Be(optimizer == OptimizerKind.Sgd ? ElementType.F32 : ElementType.U8);
    }

    [Fact]
    public void ModulesToSaveAreTrainedAndSavedInFull()
    {
        using var run = new StoriesRun();
        (FineTuneResult result, _) = run.Train("run", o => o.ModulesToSave = ["norm", "embed_tokens"]);
        using TensorFiles adapter = TensorFiles.Open(Path.Combine(result.ModelPath, "adapter_model.safetensors"));
        using TensorFiles model = TensorFiles.Open(TestData.Path("models", "stories260K", "model.safetensors"));
        foreach (string name in (string[])["model.norm.weight", "model.embed_tokens.weight"])
        {
            adapter.Require($"base_model.model.{name}").Shape.Should().Equal(model.Require(name).Shape);
            adapter.Bytes($"base_model.model.{name}").SequenceEqual(model.Bytes(name)).Should().BeFalse("{0} is trained", name);
        }
    }

    [Fact]
    public void ARunStartsWhereAnInitialAdapterEnded()
    {
        using var run = new StoriesRun();
        (FineTuneResult first, _) = run.Train("first", o => (o.Rank, o.Alpha, o.TargetModules, o.MaxSteps) = (3, 12, ["q_proj", "up_proj"], 6));
        (FineTuneResult second, List<TrainingEvent> events) = run.Train("second", o => (o.InitAdapter, o.Rank) = (run.Place("first"), 16));
        second.InitialValidationLoss.Should().Be(first.FinalValidationLoss, "the adapter is the one that was saved");
        using JsonDocument config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(second.ModelPath, "adapter_config.json")));
        (config.RootElement.GetProperty("r").GetInt32(), config.RootElement.GetProperty("lora_alpha").GetDouble()).Should().Be((3, 12));
        events.OfType<RunStarted>().Single().Plan.TrainableParameters.Should().Be(5 * 3 * (64 + 64 + 64 + 172));
    }

    private static byte[] Adapter(string directory) => File.ReadAllBytes(Path.Combine(directory, "adapter_model.safetensors"));

    private static bool IsJson(string line)
    {
        using JsonDocument document = JsonDocument.Parse(line);
        return document.RootElement.ValueKind == JsonValueKind.Object;
    }
}
