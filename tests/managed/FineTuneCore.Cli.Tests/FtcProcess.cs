using System.Diagnostics;

namespace FineTuneCore.Cli.Tests;

/// <summary>The ftc program as a user starts it.</summary>
internal static class FtcProcess
{
    /// <summary>How these tests were started: by dotnet, or as a program of their own, beside which ftc is one too.</summary>
    private static readonly bool StartsByItself = Path.GetFileNameWithoutExtension(Environment.ProcessPath) != "dotnet";

    /// <summary>What the program calls itself at the end, however it was started.</summary>
    internal static string Name => StartsByItself ? "ftc" : "ftc.dll";

    internal sealed record Result(int ExitCode, string Output, string Error);

    internal static Process Start(IEnumerable<string> arguments, IReadOnlyDictionary<string, string>? environment = null, string? directory = null)
    {
        var start = new ProcessStartInfo(StartsByItself ? Path.Combine(AppContext.BaseDirectory, "ftc") : Environment.ProcessPath!)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            WorkingDirectory = directory ?? "",
        };
        foreach (string word in StartsByItself ? (string[])[] : ["exec", Path.Combine(AppContext.BaseDirectory, "ftc.dll")]) start.ArgumentList.Add(word);
        foreach (string argument in arguments) start.ArgumentList.Add(argument);
        // On a machine with a GPU the tests of the CPU would otherwise take it; those of CUDA name their library.
        if (environment?.ContainsKey("FTC_CUDA_LIBRARY_PATH") != true) start.Environment["FTC_CUDA_LIBRARY_PATH"] = "none, for tests of the CPU";
        foreach ((string name, string value) in environment ?? new Dictionary<string, string>()) start.Environment[name] = value;
        return Process.Start(start)!;
    }

    internal static Result Run(params string[] arguments) => Run(arguments, null);

    internal static Result Run(IEnumerable<string> arguments, IReadOnlyDictionary<string, string>? environment, string? directory = null, string input = "")
    {
        using Process process = Start(arguments, environment, directory);
        process.StandardInput.Write(input);
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        process.WaitForExit();
        return new Result(process.ExitCode, output.Result, error.Result);
    }
}
