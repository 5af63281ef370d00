using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

/// <summary>Finds the native library: <c>FTC_LIBRARY_PATH</c>, then what the package installed, then the program's folder.</summary>
public static class NativeLibraryLoader
{
    private const int ExpectedMajor = 0;
    private const int ExpectedMinor = 2;
    private static readonly Lock Gate = new();
    private static string? _loadedFrom;
    private static nint _library;

    /// <summary>Where the native library was loaded from; null until the first call into it.</summary>
    public static string? LoadedFrom => _loadedFrom;

    /// <summary>Version of the native library as major.minor.patch; loads it.</summary>
    /// <exception cref="DllNotFoundException">No library was found; the message lists every place tried and what to install.</exception>
    public static string Version
    {
        get
        {
            int version = NativeMethods.ftc_version();
            return $"{version / 1_000_000}.{version / 1_000 % 1_000}.{version % 1_000}";
        }
    }

#pragma warning disable CA2255 // The resolver must be in place before the first import of this assembly, whoever calls it.
    [ModuleInitializer]
    internal static void Register() => NativeLibrary.SetDllImportResolver(typeof(NativeLibraryLoader).Assembly, Resolve);
#pragma warning restore CA2255

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath)
    {
        if (name != NativeMethods.Library) return 0;
        lock (Gate)
        {
            if (_library == 0) _library = Load(assembly);
            return _library;
        }
    }

    private static nint Load(Assembly assembly)
    {
        var tried = new List<string>();
        if (Environment.GetEnvironmentVariable("FTC_LIBRARY_PATH") is { Length: > 0 } forced)
        {
            // A forced path is forced: nothing else is tried, so that nobody measures the wrong library.
            return TryLoad(forced, tried, out nint library) ? library : throw NotFound(tried);
        }

        string file = FileName();
        string directory = AppContext.BaseDirectory;
        foreach (string candidate in (string[])[
            Path.Combine(directory, "runtimes", RuntimeIdentifier(), "native", file), Path.Combine(directory, file)])
        {
            if (TryLoad(candidate, tried, out nint library)) return library;
        }

        if (NativeLibrary.TryLoad(NativeMethods.Library, assembly, null, out nint byDefault))
        {
            _loadedFrom = NativeMethods.Library;
            return Checked(byDefault, NativeMethods.Library);
        }

        tried.Add($"{NativeMethods.Library} (the system's search path)");
        throw NotFound(tried);
    }

    private static bool TryLoad(string path, List<string> tried, out nint library)
    {
        library = 0;
        if (!File.Exists(path))
        {
            tried.Add($"{path} (no such file)");
            return false;
        }

        try
        {
            library = NativeLibrary.Load(path);
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
        {
            tried.Add($"{path} ({e.Message.ReplaceLineEndings(" ")})");
            return false;
        }

        _loadedFrom = path;
        Checked(library, path);
        return true;
    }

    /// <summary>Refuses a library of another version: a changed struct would be read as noise.</summary>
    private static unsafe nint Checked(nint library, string path)
    {
        int version = ((delegate* unmanaged[Cdecl]<int>)NativeLibrary.GetExport(library, nameof(NativeMethods.ftc_version)))();
        if (version / 1_000_000 == ExpectedMajor && version / 1_000 % 1_000 == ExpectedMinor) return library;
        throw new DllNotFoundException(
            $"{path} is version {version / 1_000_000}.{version / 1_000 % 1_000}.{version % 1_000}, expected {ExpectedMajor}.{ExpectedMinor}.x; " +
            "use FineTuneCore packages of one version, or rebuild the native library with ./build.sh native");
    }

    private static DllNotFoundException NotFound(List<string> tried) => new(
        $"the native library of FineTuneCore was not found for {RuntimeIdentifier()}. Tried: {string.Join("; ", tried)}. " +
        "Add the package FineTuneCore.Runtime.Cpu, build it with ./build.sh native, or point FTC_LIBRARY_PATH at the file.");

    private static string FileName() =>
        OperatingSystem.IsWindows() ? "ftc.dll" : OperatingSystem.IsMacOS() ? "libftc.dylib" : "libftc.so";

    private static string RuntimeIdentifier()
    {
        string system = OperatingSystem.IsWindows() ? "win" : OperatingSystem.IsMacOS() ? "osx" : "linux";
        return $"{system}-{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}";
    }
}
