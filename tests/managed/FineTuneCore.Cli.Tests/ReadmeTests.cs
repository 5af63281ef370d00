using System.Diagnostics;
using System.Text.RegularExpressions;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests;

/// <summary>The C# sample of the README, taken from the page as it is, compiled and run.</summary>
public sealed class ReadmeTests
{
    [Fact]
    public async Task TheSampleRunsAndLearns()
    {
        using var temporary = new TemporaryDirectory();
        string root = Root();
        string sample = Regex.Match(File.ReadAllText(Path.Combine(root, "README.md")), "```csharp\n(.*?)```", RegexOptions.Singleline).Groups[1].Value;
        sample.Split('\n').Count(line => line.Trim() is not ("" or "{" or "}" or "};")).Should().BeLessThanOrEqualTo(15);
        string file = temporary.Write(
            "sample.cs", $"#:project {Path.Combine(root, "managed", "FineTuneCore", "FineTuneCore.csproj")}\n#:property PublishAot=false\n{sample}");
        var start = new ProcessStartInfo("dotnet", ["run", "-c", "Release", file, "--", temporary.File("run")])
        {
            WorkingDirectory = root, RedirectStandardOutput = true, RedirectStandardError = true,
        };
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        process.ExitCode.Should().Be(0, output + await error);
        Match losses = Regex.Match(output, @"validation loss (\d+\.\d+) -> (\d+\.\d+)");
        losses.Success.Should().BeTrue(output);
        double.Parse(losses.Groups[2].Value).Should().BeLessThan(double.Parse(losses.Groups[1].Value));
        output[(losses.Index + losses.Length)..].Trim().Should().NotBeEmpty("the tuned model answers");
    }

    private static string Root()
    {
        for (string? at = AppContext.BaseDirectory; at is not null; at = Path.GetDirectoryName(at))
            if (File.Exists(Path.Combine(at, "FineTuneCore.sln"))) return at;
        throw new DirectoryNotFoundException("the tests run inside the repository");
    }
}
