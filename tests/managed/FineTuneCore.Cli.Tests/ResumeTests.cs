using System.Diagnostics;
using FineTuneCore.Tests;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests;

/// <summary>A run that is killed or stopped and resumed ends with the bits of one that was not.</summary>
public sealed class ResumeTests
{
    private static readonly string[] Run =
    [
        "--chat-template", "chatml", "--overflow", "truncate", "--sequence-length", "96", "--micro-batch-size", "1", "--accumulation-steps", "2",
        "--rank", "4", "--dropout", "0.1", "--learning-rate", "1e-3", "--eval-every", "40", "--checkpoint-every", "3", "--early-stopping", "0",
    ];

    [Theory]
    [InlineData("lora", "300", 20)]
    [InlineData("full", "60", 3)]
    public void KilledAtRandomInstantsAndResumedEqualsUninterrupted(string method, string steps, int kills)
    {
        using var temporary = new TemporaryDirectory();
        string data = Data(temporary);
        string[] arguments = Arguments(data, method, steps);
        FtcProcess.Result whole = FtcProcess.Run([.. arguments, "--output", temporary.File("whole")]);
        whole.ExitCode.Should().Be(0, whole.Error);

        string output = temporary.File("killed");
        var random = new Random(20);
        int killedWhileTraining = 0;
        for (int kill = 0; kill < kills; kill++)
        {
            bool started = Directory.Exists(output) && File.Exists(Path.Combine(output, "config.resolved.yaml"));
            using Process process = FtcProcess.Start(started ? ["train", "--resume", "--output", output] : [.. arguments, "--output", output]);
            // Every fourth kill comes at any time, the others while steps are done: how long a start takes depends on the machine.
            bool training = kill % 4 != 0 && WaitForSteps(process, Path.Combine(output, "metrics.jsonl"));
            if (!process.WaitForExit(training ? random.Next(0, 100) : random.Next(100, 900)))
            {
                killedWhileTraining += training ? 1 : 0;
                process.Kill();
                process.WaitForExit();
            }
            else
            {
                process.ExitCode.Should().Be(0, process.StandardError.ReadToEnd());
            }
        }

        killedWhileTraining.Should().BeGreaterThan(kills / 2, "most kills should hit a run in progress");
        FtcProcess.Result rest = FtcProcess.Run("train", "--resume", "--output", output);
        rest.ExitCode.Should().Be(0, rest.Error);
        string result = method == "full" ? "model/model.safetensors" : "adapter/adapter_model.safetensors";
        File.ReadAllBytes(Path.Combine(output, result)).Should().Equal(File.ReadAllBytes(Path.Combine(temporary.File("whole"), result)));
        Directory.EnumerateFileSystemEntries(output, ".*").Should().BeEmpty("no temporary of a killed writer may stay");
    }

    /// <summary>True once the run has written a line of metrics; false when it ended before.</summary>
    private static bool WaitForSteps(Process process, string metrics)
    {
        long Length() => new FileInfo(metrics) is { Exists: true } file ? file.Length : 0;
        for (long before = Length(); !process.WaitForExit(1);)
        {
            long now = Length();
            if (now > before) return true;
            before = now;
        }

        return false;
    }

    [Fact]
    public void CtrlCWritesACheckpointAndPrintsTheCommandThatResumes()
    {
        using var temporary = new TemporaryDirectory();
        string[] arguments = Arguments(Data(temporary), "lora", "300");
        string output = temporary.File("run");
        using Process process = FtcProcess.Start([.. arguments, "--output", output]);
        string metrics = Path.Combine(output, "metrics.jsonl");
        SpinWait.SpinUntil(() => File.Exists(metrics) && new FileInfo(metrics).Length > 500, TimeSpan.FromSeconds(30)).Should().BeTrue();
        using (Process interrupt = Process.Start("kill", ["-INT", process.Id.ToString()])) interrupt.WaitForExit();
        string printed = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        process.ExitCode.Should().Be(130);
        printed.Should().Contain($"ftc train --resume --output {output}");
        FtcProcess.Result rest = FtcProcess.Run("train", "--resume", "--output", output, "--json");
        rest.ExitCode.Should().Be(0, rest.Error);
        rest.Output.Should().Contain("resumed from");
    }

    [Fact]
    public void ADamagedCheckpointIsPassedOverForAnOlderOne()
    {
        using var temporary = new TemporaryDirectory();
        string output = temporary.File("run");
        FtcProcess.Result first = FtcProcess.Run([.. Arguments(Data(temporary), "lora", "12"), "--output", output, "--keep-checkpoints", "4"]);
        first.ExitCode.Should().Be(0, first.Error);
        string newest = Path.Combine(output, "checkpoint-12", "adapter_model.safetensors");
        byte[] bytes = File.ReadAllBytes(newest);
        bytes[^5] ^= 1;
        File.WriteAllBytes(newest, bytes);
        FtcProcess.Result resumed = FtcProcess.Run("train", "--resume", "--output", output);
        resumed.ExitCode.Should().Be(0, resumed.Error);
        resumed.Output.Should().Contain("checkpoint-12 is damaged (the checksum of adapter_model.safetensors does not hold)").And.Contain("resumed from");
    }

    [Fact]
    public void ResumingUnderOtherOptionsIsRefusedAndNamesThem()
    {
        using var temporary = new TemporaryDirectory();
        string output = temporary.File("run");
        FtcProcess.Run([.. Arguments(Data(temporary), "lora", "4"), "--output", output]).ExitCode.Should().Be(0);
        FtcProcess.Result refused = FtcProcess.Run("train", "--resume", "--output", output, "--learning-rate", "5e-3");
        refused.ExitCode.Should().Be(2);
        refused.Error.Should().Contain("learning_rate was 0.001 and is 0.005");
    }

    private static string[] Arguments(string data, string method, string steps) =>
        ["train", "--model", TestData.Path("models", "stories260K"), "--data", data, "--method", method, "--max-steps", steps, .. Run];

    /// <summary>The shortest real chats, so that a step takes milliseconds.</summary>
    private static string Data(TemporaryDirectory temporary) => temporary.Write(
        "chats.jsonl",
        string.Join('\n', File.ReadLines(TestData.Path("datasets", "gsm8k_train_1000_messages.jsonl")).OrderBy(l => l.Length).Take(60)));
}
