using System.Text.RegularExpressions;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Native.Tests.Kernels;

/// <summary>The package's page shows code that was compiled and run: <see cref="ExampleTests"/>.</summary>
public sealed partial class PageTests
{
    [Fact]
    public void EveryExampleOfThePageStandsInTheTests()
    {
        string? root = AppContext.BaseDirectory;
        while (root is not null && !File.Exists(Path.Combine(root, "FineTuneCore.sln"))) root = Path.GetDirectoryName(root);
        Assert.SkipWhen(root is null, "the page lies in the repository, and this test runs elsewhere");
        string page = File.ReadAllText(Path.Combine(root, "bindings", "FineTuneCore.Native", "README.md"));
        string examples = Unindented(File.ReadAllText(Path.Combine(root, "tests", "bindings", "FineTuneCore.Native.Tests", "Kernels", "ExampleTests.cs")));
        string[] blocks = [.. Blocks().Matches(page).Select(m => Unindented(m.Groups[1].Value))];
        blocks.Should().HaveCountGreaterThan(10);
        blocks.Should().AllSatisfy(block => examples.Should().Contain(block));
    }

    private static string Unindented(string text) => string.Join('\n', text.Split('\n').Select(line => line.Trim())).Trim();

    [GeneratedRegex("```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Blocks();
}
