using Xunit;

namespace FineTuneCore.Tests.Tokenization;

/// <summary>
/// Models, tokenizers and datasets that are not part of the repository: in the directory of FTC_TEST_DATA, by default ../shared/data beside
/// the repository. Tests that need them are skipped where they are not at hand.
/// </summary>
internal static class ReferenceData
{
    public static string RepositoryRoot { get; } = FindRoot();

    private static string Root => Environment.GetEnvironmentVariable("FTC_TEST_DATA") is { Length: > 0 } root
        ? root
        : Path.Combine(RepositoryRoot, "..", "shared", "data");

    /// <summary>A file or directory of the reference data; without it the test is skipped.</summary>
    public static string Need(params string[] path)
    {
        string full = Path.GetFullPath(Path.Combine([Root, .. path]));
        Assert.SkipUnless(File.Exists(full) || Directory.Exists(full), $"{full} is not at hand; set FTC_TEST_DATA to the reference data");
        return full;
    }

    /// <summary>A file of tests/golden.</summary>
    public static string Golden(params string[] path) => Path.Combine([RepositoryRoot, "tests", "golden", .. path]);

    private static string FindRoot()
    {
        for (DirectoryInfo? directory = new(AppContext.BaseDirectory); directory is not null; directory = directory.Parent)
            if (File.Exists(Path.Combine(directory.FullName, "FineTuneCore.sln")))
                return directory.FullName;
        throw new InvalidOperationException($"no FineTuneCore.sln above {AppContext.BaseDirectory}");
    }
}
