using FineTuneCore.Cli.Output;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests;

public class ProgramNameTests
{
    [Theory]
    [InlineData("/home/me/.dotnet/tools/ftc", "/x/ftc.dll", "/work", "ftc")]
    [InlineData(null, "/x/ftc.dll", "/work", "ftc")]
    [InlineData("/usr/bin/dotnet", "/home/me/bin/ftc.dll", "/home/me", "dotnet bin/ftc.dll")]
    [InlineData("/usr/bin/dotnet", "/elsewhere/ftc.dll", "/work", "dotnet /elsewhere/ftc.dll")]
    [InlineData("/usr/bin/dotnet", "/my builds/ftc.dll", "/work", "dotnet \"/my builds/ftc.dll\"")]
    public void ACommandCanBeCopied(string? process, string library, string directory, string expected)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "the paths are those of Unix");
        ProgramName.Find(process, library, directory).Should().Be(expected);
    }
}
