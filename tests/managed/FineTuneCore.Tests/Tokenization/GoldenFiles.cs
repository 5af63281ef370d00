namespace FineTuneCore.Tests.Tokenization;

/// <summary>Files of tests/golden in the repository.</summary>
internal static class GoldenFiles
{
    private static string Root { get; } = FindRoot();

    public static string Path(params string[] parts) => System.IO.Path.Combine([Root, "tests", "golden", .. parts]);

    private static string FindRoot()
    {
        for (DirectoryInfo? directory = new(AppContext.BaseDirectory); directory is not null; directory = directory.Parent)
            if (File.Exists(System.IO.Path.Combine(directory.FullName, "FineTuneCore.sln")))
                return directory.FullName;
        throw new InvalidOperationException($"no FineTuneCore.sln above {AppContext.BaseDirectory}");
    }
}
