namespace FineTuneCore.Cli.Output;

/// <summary>How this program was started, for commands that a user can copy.</summary>
internal static class ProgramName
{
    /// <summary><c>ftc</c>, or <c>dotnet PATH/ftc.dll</c> where it runs from a build.</summary>
    internal static string Text { get; } = Find(Environment.ProcessPath, Path.Combine(AppContext.BaseDirectory, "ftc.dll"), Directory.GetCurrentDirectory());

    internal static string Find(string? process, string library, string directory)
    {
        if (Path.GetFileNameWithoutExtension(process) != "dotnet") return "ftc";
        string relative = Path.GetRelativePath(directory, library);
        string path = relative.StartsWith("..", StringComparison.Ordinal) ? library : relative;
        return $"dotnet {(path.Contains(' ', StringComparison.Ordinal) ? $"\"{path}\"" : path)}";
    }
}
