using System.Diagnostics;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests;

/// <summary>A disk that fills up while something is written: what was there stays, nothing half-written is left.</summary>
public sealed class FullDiskTests
{
    [Fact]
    public void ARunWhoseCheckpointDoesNotFit()
    {
        using var bad = new BadInput();
        using var disk = new SmallDisk(kilobytes: 600);
        File.WriteAllText(disk.File("thesis.txt"), "years of work");
        bad.Output = disk.File("run");
        // Rank 2: about 140 kB a checkpoint with its moments; 64 steps of them do not fit.
        FtcProcess.Result result = bad.Train("--rank", "2", "--max-steps", "64", "--checkpoint-every", "1", "--keep-checkpoints", "60");
        result.ExitCode.Should().Be(4, result.Error);
        string error = result.Error.Trim();
        error.Should().StartWith("ftc: ").And.NotContain("\n").And.Contain(disk.Path).And.Contain("the disk is full").And.Contain("--output").And.NotContain("   at ");
        AssertWhole(disk, bad.Output);
        string[] checkpoints = [.. Directory.EnumerateDirectories(bad.Output, "checkpoint-*")];
        checkpoints.Should().NotBeEmpty("the checkpoints before the disk was full are whole");
        foreach (string checkpoint in checkpoints) File.Exists(Path.Combine(checkpoint, "checksums.json")).Should().BeTrue();
        // Room made, the run goes on from the last of them.
        foreach (string checkpoint in checkpoints.OrderBy(c => int.Parse(c[(c.LastIndexOf('-') + 1)..])).SkipLast(1)) Directory.Delete(checkpoint, recursive: true);
        FtcProcess.Result resumed = FtcProcess.Run("train", "--resume", "--output", bad.Output, "--keep-checkpoints", "1", "--checkpoint-every", "64");
        resumed.ExitCode.Should().Be(0, resumed.Error);
    }

    [Theory]
    [InlineData("merge")]
    [InlineData("quantize")]
    public void AModelThatDoesNotFit(string command)
    {
        using var bad = new BadInput();
        bad.Train().ExitCode.Should().Be(0);
        using var disk = new SmallDisk(kilobytes: 100);
        File.WriteAllText(disk.File("thesis.txt"), "years of work");
        FtcProcess.Result result = FtcProcess.Run(command, "--model", command == "merge" ? bad.Output : bad.Model, "--output", disk.File("model"));
        BadInput.Failed(result, 4, disk.Path, "the disk is full", "--output");
        AssertWhole(disk, bad.Output);
        Directory.EnumerateFileSystemEntries(disk.Path).Select(Path.GetFileName).Should().Equal("thesis.txt");
    }

    [Fact]
    public void ADiskThatIsFullFromTheStart()
    {
        using var bad = new BadInput();
        using var disk = new SmallDisk(kilobytes: 8);
        File.WriteAllBytes(disk.File("thesis.txt"), new byte[4096]);
        bad.Output = disk.File("run");
        FtcProcess.Result result = bad.Train();
        BadInput.Failed(result, 4, disk.Path, "the disk is full", "--output");
        new FileInfo(disk.File("thesis.txt")).Length.Should().Be(4096);
        Directory.EnumerateFiles(disk.Path, "*.tmp-*", SearchOption.AllDirectories).Should().BeEmpty();
    }

    private static void AssertWhole(SmallDisk disk, string output)
    {
        File.ReadAllText(disk.File("thesis.txt")).Should().Be("years of work");
        foreach (string place in (string[])[disk.Path, output])
        {
            Directory.EnumerateFileSystemEntries(place, ".*").Should().BeEmpty("no temporary may stay");
            Directory.EnumerateFiles(place, "*.tmp-*", SearchOption.AllDirectories).Should().BeEmpty("no temporary may stay");
        }
    }

    /// <summary>A file system of a few kilobytes in memory; skips the test where it may not be mounted.</summary>
    private sealed class SmallDisk : IDisposable
    {
        internal SmallDisk(int kilobytes)
        {
            Assert.SkipUnless(OperatingSystem.IsLinux(), "a small file system is mounted on Linux only");
            Path = Directory.CreateTempSubdirectory("ftc-disk-").FullName;
            if (Command("mount", "-t", "tmpfs", "-o", $"size={kilobytes}k", "tmpfs", Path) == 0) return;
            Directory.Delete(Path);
            Assert.Skip("a small file system cannot be mounted here (this needs root)");
        }

        internal string Path { get; }

        internal string File(string name) => System.IO.Path.Combine(Path, name);

        public void Dispose()
        {
            Command("umount", Path);
            Directory.Delete(Path);
        }

        private static int Command(string program, params string[] arguments)
        {
            try
            {
                using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
                process.WaitForExit();
                return process.ExitCode;
            }
            catch (System.ComponentModel.Win32Exception)
            {
                return -1;
            }
        }
    }
}
