using Xunit;

namespace FineTuneCore.Cli.Tests.Cuda;

/// <summary>
/// The CUDA library under test: the file that <c>FTC_CUDA_LIBRARY_PATH</c> names (a GPU's), else the one built for the simulator, which
/// pretends one GPU. Each run is a process of its own, since a process has one native library.
/// </summary>
internal static class CudaLibrary
{
    private const string Variable = "FTC_CUDA_LIBRARY_PATH";

    /// <summary>What these tests measure is not what the user's runs should take over.</summary>
    private static readonly Lazy<TemporaryDirectory> Cache = new(() =>
    {
        var directory = new TemporaryDirectory();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => directory.Dispose();
        return directory;
    });

    /// <summary>Runs ftc with the CUDA library at hand; skips the test where there is none.</summary>
    internal static FtcProcess.Result Run(IEnumerable<string> arguments, params (string Name, string Value)[] environment)
    {
        var variables = environment.ToDictionary(e => e.Name, e => e.Value);
        variables[Variable] = Path();
        variables.TryAdd("XDG_CACHE_HOME", Cache.Value.Path);
        return FtcProcess.Run(arguments, variables);
    }

    /// <summary>Runs ftc with another file, or none, in the CUDA library's place.</summary>
    internal static FtcProcess.Result RunWith(string library, params string[] arguments) =>
        FtcProcess.Run(arguments, new Dictionary<string, string> { [Variable] = library });

    internal static bool IsSimulator => System.IO.Path.GetFileName(Path()).Contains("_sim", StringComparison.Ordinal);

    /// <summary>The library for GPUs, which on a machine without one can only say so; skips where it was not built.</summary>
    internal static string ForGpus() => Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } && !IsSimulator
        ? Path() : Built("libftc_cuda.so", "the CUDA library was not built (no nvcc)");

    private static string Path() => Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } given
        ? given : Built("libftc_cuda_sim.so", "the CUDA library for the simulator was not built (./build.sh native builds it)");

    private static string Built(string file, string reason)
    {
        string? at = AppContext.BaseDirectory;
        while (at is not null && !File.Exists(System.IO.Path.Combine(at, "FineTuneCore.sln"))) at = System.IO.Path.GetDirectoryName(at);
        string path = System.IO.Path.Combine(at ?? "", "native", "build", "release", file);
        if (!File.Exists(path) && Environment.GetEnvironmentVariable("FTC_REQUIRE_CUDA") == "1") Assert.Fail($"FTC_REQUIRE_CUDA=1, but {reason}");
        Assert.SkipUnless(File.Exists(path), reason);
        return path;
    }
}
