using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests;

/// <summary>Options, configs and places for results that cannot be used, as a user meets them.</summary>
public sealed class BadOptionTests
{
    [Theory]
    [InlineData("--learning-rate", "11", "0 to 10")]
    [InlineData("--learning-rate", "NaN", "0 to 10")]
    [InlineData("--learning-rate", "fast", "a number")]
    [InlineData("--rank", "0", "from 1")]
    [InlineData("--dropout", "1", "0 to 0.9")]
    [InlineData("--sequence-length", "4", "from 8")]
    [InlineData("--sequence-length", "100000", "512")]
    [InlineData("--method", "prefix", "lora, qlora, full")]
    [InlineData("--optimizer", "lion", "adamw, adamw-8bit, paged-adamw, paged-adamw-8bit, sgd")]
    [InlineData("--optimizer", "paged-adamw-8bit", "on the CPU, where it lies there anyway; use adamw-8bit")]
    [InlineData("--memory-limit", "lots", "8GB")]
    [InlineData("--rank", "65", "smaller side")]
    [InlineData("--target-modules", "query", "q_proj")]
    [InlineData("--modules-to-save", "head", "head")]
    [InlineData("--threads", "1000", "1 to 256")]
    [InlineData("--validation-data", "nowhere.jsonl", "nowhere.jsonl")]
    [InlineData("--init-adapter", "nowhere", "adapter_config.json")]
    public void ValuesOutOfRange(string option, string value, string says)
    {
        using var bad = new BadInput();
        int code = option switch { "--validation-data" => 3, "--init-adapter" => 1, _ => 2 };
        bad.TrainingFails(code, [option, value], value.Split('.')[0], says);
    }

    [Theory]
    [InlineData("learning_rte: 1e-3", "learning_rte", "Did you mean learning_rate?")]
    [InlineData("learning_rate: [1, 2]", "learning_rate", "a number")]
    [InlineData("rank: {r: 4}", "rank", "options of its own")]
    [InlineData("rank: 4\n rank: 5", "not valid YAML")]
    [InlineData("- rank", "one option a line")]
    public void YamlThatIsNotOptions(string yaml, params string[] says)
    {
        using var bad = new BadInput();
        string config = bad.Write("run.yaml", yaml + "\n");
        bad.TrainingFails(2, ["--config", config], ["run.yaml:", .. says]);
    }

    [Fact]
    public void FlagsThatDoNotExist()
    {
        using var bad = new BadInput();
        FtcProcess.Result result = bad.Train("--learning-rte", "1");
        result.ExitCode.Should().Be(2);
        result.Output.Should().BeEmpty();
        result.Error.Should().Contain("--learning-rte is not an option").And.Contain("Did you mean --learning-rate?").And.Contain("--help").And.NotContain("   at ");
        Directory.Exists(bad.Output).Should().BeFalse();
    }

    [Fact]
    public void AnOutputThatIsNotEmptyOrNoDirectory()
    {
        using var bad = new BadInput();
        Directory.CreateDirectory(bad.Output);
        File.WriteAllText(Path.Combine(bad.Output, "thesis.txt"), "years of work");
        bad.TrainingFails(2, [], bad.Output, "not empty", "--output", "--resume");
        bad.Output = bad.Data;
        bad.TrainingFails(2, [], bad.Data, "--output");
        bad.Output = bad.Place("never");
        bad.TrainingFails(2, ["--resume"], "never", "no run to resume");
    }

    [Fact]
    public void ResumingNeedsTheRun() => BadInput.Failed(FtcProcess.Run("train", "--resume"), 2, "--resume", "--output", "directory of the run");

    [Fact]
    public void ACheckpointOfAnotherRun()
    {
        using var bad = new BadInput();
        bad.Train().ExitCode.Should().Be(0);
        string first = bad.Output;
        bad.Output = bad.Place("other");
        bad.Train("--rank", "2", "--max-steps", "4").ExitCode.Should().Be(0);
        Directory.Delete(Path.Combine(bad.Output, "checkpoint-4"), recursive: true);
        foreach (string checkpoint in Directory.EnumerateDirectories(bad.Output, "checkpoint-*")) Directory.Delete(checkpoint, recursive: true);
        Directory.Move(Path.Combine(first, "checkpoint-2"), Path.Combine(bad.Output, "checkpoint-2"));
        BadInput.Failed(FtcProcess.Run("train", "--resume", "--output", bad.Output), 2, bad.Output, "cannot be resumed", "--output");
    }

    [Fact]
    public void AModelThatDoesNotFitTheLimitIsRefusedBeforeItIsAllocated()
    {
        using var bad = new BadInput();
        bad.TrainingFails(4, ["--memory-limit", "2MB", "--method", "full"], "this run needs", "2.0 MB", "What would fit", "lora");
        bad.TrainingFails(4, ["--memory-limit", "5MB", "--packing", "false", "--micro-batch-size", "16"], "What would fit", "--micro-batch-size 1 --accumulation-steps 16");
    }

    [Fact]
    public void CommandsRefuseOutputsThatAreTaken()
    {
        using var bad = new BadInput();
        Directory.CreateDirectory(bad.Output);
        File.WriteAllText(Path.Combine(bad.Output, "thesis.txt"), "years of work");
        BadInput.Failed(FtcProcess.Run("quantize", "--model", bad.Model, "--output", bad.Output), 2, bad.Output, "not empty");
        File.ReadAllText(Path.Combine(bad.Output, "thesis.txt")).Should().Be("years of work");
    }
}
