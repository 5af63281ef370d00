using FineTuneCore.Training;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests;

/// <summary>Options of ftc train: where a value comes from, and what is said about a wrong one.</summary>
public sealed class TrainCommandTests
{
    [Fact]
    public void FlagsWinOverTheFileAndTheFileOverDefaults()
    {
        using var temporary = new TemporaryDirectory();
        string file = temporary.Write("run.yaml", "model: base\nlearning_rate: 3e-4\nrank: 8\ntarget_modules: [q_proj, v_proj]\nvalidation_data: null\npacking: no\n");
        FtcProcess.Result result = FtcProcess.Run("train", file, "--rank", "4", "--rs-lora", "--print-config");
        result.ExitCode.Should().Be(0, result.Error);
        string[] lines = result.Output.Split('\n');
        lines.Should().Contain(l => l.StartsWith("rank: 4 ", StringComparison.Ordinal) && l.EndsWith("# --rank", StringComparison.Ordinal));
        lines.Should().Contain(l => l.StartsWith("learning_rate: 0.0003 ", StringComparison.Ordinal) && l.EndsWith($"# {file}:2", StringComparison.Ordinal));
        lines.Should().Contain(l => l.StartsWith("target_modules: q_proj,v_proj ", StringComparison.Ordinal));
        lines.Should().Contain(l => l.StartsWith("packing: false ", StringComparison.Ordinal));
        lines.Should().Contain(l => l.StartsWith("rs_lora: true ", StringComparison.Ordinal) && l.EndsWith("# --rs-lora", StringComparison.Ordinal));
        lines.Should().Contain(l => l.StartsWith("epochs: 3 ", StringComparison.Ordinal) && l.EndsWith("# default", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("lerning_rate: 1e-4", ":1: lerning_rate is not an option. Did you mean learning_rate?")]
    [InlineData("model: x\nrank: many", ":2: rank is 'many', expected a whole number from 1.")]
    [InlineData("model: x\n\nmethod: dora", ":3: method is 'dora', expected lora, qlora, full.")]
    [InlineData("model: [a: b]", "model holds options of its own, expected one value or a list of words.")]
    [InlineData("- model", "expected one option a line")]
    [InlineData("model: 'open", "not valid YAML")]
    public void AWrongFileIsRefusedWithLineAndRemedy(string text, string message)
    {
        using var temporary = new TemporaryDirectory();
        FtcProcess.Result result = FtcProcess.Run("train", temporary.Write("run.yaml", text), "--print-config");
        result.ExitCode.Should().Be(2);
        result.Error.Should().Contain(message);
        result.Output.Should().BeEmpty();
    }

    [Theory]
    [InlineData("--memory-limit", "much", "expected a size such as 8GB or 512MiB")]
    [InlineData("--dropout", "1.5", "expected a number from 0 to 0.9")]
    [InlineData("--packing", "perhaps", "expected true or false")]
    [InlineData("--epochs", "NaN", "expected a number from")]
    public void AWrongFlagIsRefusedWithItsRange(string flag, string value, string message)
    {
        FtcProcess.Result result = FtcProcess.Run("train", flag, value, "--print-config");
        result.ExitCode.Should().Be(2);
        result.Error.Should().Contain(flag).And.Contain(message);
    }

    [Fact]
    public void EverySettingSurvivesTheResolvedConfig()
    {
        using var temporary = new TemporaryDirectory();
        var options = new FineTuneOptions
        {
            Model = "with: colon", Data = "it's", Output = "# no comment", Alpha = 12.5, MaxSteps = 3, MemoryLimit = 5_000_000_000, RsLora = true,
            TargetModules = ["q_proj", "v_proj"], LearningRate = 1.5e-7, Overflow = Data.OverflowPolicy.Drop, TrainOnEos = Data.TrainOnEos.Last,
        };
        RunDirectory.WriteConfig(temporary.Path, options);
        FineTuneOptions read = RunDirectory.ReadConfig(temporary.Path);
        foreach (Setting setting in Settings.All) setting.Get(read).Should().Be(setting.Get(options), setting.Key);
        ConfigResolver.Resolve(temporary.File("config.resolved.yaml"), []).Options.Should().BeEquivalentTo(options, "the file is a --config file too");
    }
}
