using System.Globalization;
using System.Text.RegularExpressions;
using FineTuneCore.Cli.Output;
using FineTuneCore.Cli.Quickstart;
using FineTuneCore.Training;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests;

/// <summary>The whole quickstart once, as a process, and what it left behind.</summary>
public sealed class QuickstartTests(QuickstartTests.Run run) : IClassFixture<QuickstartTests.Run>
{
    [Fact]
    public void TheModelIsMuchBetterAfterwards()
    {
        run.Result.ExitCode.Should().Be(0, run.Result.Error);
        Match loss = Regex.Match(run.Result.Output, @"held-out loss +([0-9.]+) → ([0-9.]+)");
        double before = Number(loss, 1), after = Number(loss, 2);
        after.Should().BeLessThan(0.2 * before);
        run.Result.Output.Should().Contain($"held-out loss {100 * (1 - after / before):F0} % lower");
        Match right = Regex.Match(run.Result.Output, @"right answers +(\d+) of (\d+) → (\d+) of \d+");
        Number(right, 1).Should().BeLessThan(0.1 * Number(right, 2));
        Number(right, 3).Should().BeGreaterThan(0.5 * Number(right, 2));
    }

    [Fact]
    public void ThreeQuestionsAreAnsweredBeforeAndAfter()
    {
        string last = run.Result.Output[run.Result.Output.IndexOf("── 3 of 3", StringComparison.Ordinal)..];
        foreach (string label in (string[])["  question ", "  before ", "  after "])
            Regex.Count(last, "^" + label, RegexOptions.Multiline).Should().Be(3);
    }

    [Fact]
    public void EverythingIsWhereItSays()
    {
        foreach (string file in (string[])["adapter/adapter_model.safetensors", "adapter/adapter_config.json", "report.html", "metrics.jsonl", "manifest.json", "config.resolved.yaml"])
            File.Exists(Path.Combine(run.Output, file)).Should().BeTrue(file);
        run.Result.Output.Should().Contain(Path.Combine(run.Output, "report.html")).And.Contain($"{FtcProcess.Name} chat --model {run.Output}");
    }

    [Fact]
    public void ADirectoryThatIsNotEmptyIsRefused()
    {
        using var directory = new TemporaryDirectory();
        directory.Write("mine.txt", "mine");
        FtcProcess.Result second = FtcProcess.Run("quickstart", "--output", directory.Path);
        second.ExitCode.Should().Be(2);
        second.Error.Should().Be($"ftc: {directory.Path} exists and is not empty; choose another directory with --output.\n");
        Directory.EnumerateFileSystemEntries(directory.Path).Should().ContainSingle();
    }

    [Theory]
    [InlineData("--threads", "0", "--threads expects 1 or more")]
    [InlineData("--method", "full", "'full' not recognized")]
    public void BadOptionsAreRefused(string option, string value, string message)
    {
        FtcProcess.Result result = FtcProcess.Run("quickstart", option, value);
        result.ExitCode.Should().Be(2);
        result.Error.Should().Contain(message);
    }

    [Fact]
    public void WhatIsNotBetterIsSaidAndFails()
    {
        using var directory = new TemporaryDirectory();
        FineTuneOptions options = QuickstartTour.Options(FineTuneMethod.Lora, directory.File("run"), threads: null);
        (options.MaxSteps, options.LearningRate) = (1, 1); // one step far too long
        using var output = new StringWriter();
        new QuickstartTour(options, output, new PlainDisplay(output)).Run().Should().Be(ExitCodes.Failed);
        output.ToString().Should().Contain("the model is NOT better than before").And.Contain("manifest.json").And.NotContain("% lower");
    }

    private static double Number(Match match, int group) => double.Parse(match.Groups[group].Value, CultureInfo.InvariantCulture);

    /// <summary>One run, shared by the tests.</summary>
    public sealed class Run : IDisposable
    {
        private readonly TemporaryDirectory _directory = new();

        public Run()
        {
            Output = Path.Combine(_directory.Path, "run");
            Result = FtcProcess.Run("quickstart", "--output", Output);
        }

        internal string Output { get; }

        internal FtcProcess.Result Result { get; }

        public void Dispose() => _directory.Dispose();
    }
}
