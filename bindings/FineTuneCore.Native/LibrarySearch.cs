using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

/// <summary>Which of the libraries behind <c>ftc.h</c>.</summary>
public enum NativeLibraryKind
{
    /// <summary><c>ftc</c>: any x86-64 CPU.</summary>
    Cpu,

    /// <summary><c>ftc_cuda</c>: NVIDIA GPUs from compute capability 8.0.</summary>
    Cuda,
}

/// <summary>Where a native library may lie, and the check that it is of this version.</summary>
internal static class LibrarySearch
{
    private const int ExpectedMajor = 0;
    private const int ExpectedMinor = 3;

    /// <summary>Loads the first library of this kind that there is.</summary>
    /// <exception cref="DllNotFoundException">None was found, or it is of another version; the message lists every place tried and what to do.</exception>
    internal static (nint Library, string Path) Load(NativeLibraryKind kind)
    {
        var tried = new List<string>();
        if (Environment.GetEnvironmentVariable(ForcedBy(kind)) is { Length: > 0 } forced)
        {
            // A forced path is forced: nothing else is tried, so that nobody measures the wrong library.
            return TryLoad(forced, tried) is { } library ? (library, forced) : throw NotFound(kind, tried);
        }

        string file = FileName(kind);
        string directory = AppContext.BaseDirectory;
        foreach (string candidate in (string[])[
            Path.Combine(directory, "runtimes", RuntimeIdentifier(), "native", file), Path.Combine(directory, file)])
        {
            if (TryLoad(candidate, tried) is { } library) return (library, candidate);
        }

        string name = Name(kind);
        if (NativeLibrary.TryLoad(name, typeof(LibrarySearch).Assembly, null, out nint byDefault)) return (Checked(byDefault, name), name);
        tried.Add($"{name} (the system's search path)");
        throw NotFound(kind, tried);
    }

    /// <summary>The environment variable that names the library's file.</summary>
    internal static string ForcedBy(NativeLibraryKind kind) => kind == NativeLibraryKind.Cuda ? "FTC_CUDA_LIBRARY_PATH" : "FTC_LIBRARY_PATH";

    internal static string Text(int version) => $"{version / 1_000_000}.{version / 1_000 % 1_000}.{version % 1_000}";

    private static nint? TryLoad(string path, List<string> tried)
    {
        if (!File.Exists(path))
        {
            tried.Add($"{path} (no such file)");
            return null;
        }

        try
        {
            return Checked(NativeLibrary.Load(path), path);
        }
        catch (Exception e) when (e is BadImageFormatException || (e is DllNotFoundException && e is not WrongVersionException))
        {
            tried.Add($"{path} ({e.Message.ReplaceLineEndings(" ")})");
            return null;
        }
    }

    /// <summary>Refuses a library of another version: a changed struct would be read as noise.</summary>
    private static unsafe nint Checked(nint library, string path)
    {
        int version = ((delegate* unmanaged[Cdecl]<int>)NativeLibrary.GetExport(library, nameof(NativeMethods.ftc_version)))();
        if (version / 1_000_000 == ExpectedMajor && version / 1_000 % 1_000 == ExpectedMinor) return library;
        throw new WrongVersionException(
            $"{path} is version {Text(version)}, expected {ExpectedMajor}.{ExpectedMinor}.x; use FineTuneCore packages of one version, or rebuild the native library with ./build.sh native");
    }

    private static DllNotFoundException NotFound(NativeLibraryKind kind, List<string> tried) => new(
        kind == NativeLibraryKind.Cuda
            ? $"the CUDA library of FineTuneCore was not found for {RuntimeIdentifier()}. Tried: {string.Join("; ", tried)}. " +
              "Add the package FineTuneCore.Runtime.Cuda, build it with FTC_CUDA=ON ./build.sh native, or point FTC_CUDA_LIBRARY_PATH at the file."
            : $"the native library of FineTuneCore was not found for {RuntimeIdentifier()}. Tried: {string.Join("; ", tried)}. " +
              "Add the package FineTuneCore.Runtime.Cpu, build it with ./build.sh native, or point FTC_LIBRARY_PATH at the file.");

    private static string Name(NativeLibraryKind kind) => kind == NativeLibraryKind.Cuda ? "ftc_cuda" : "ftc";

    private static string FileName(NativeLibraryKind kind) =>
        OperatingSystem.IsWindows() ? $"{Name(kind)}.dll" : OperatingSystem.IsMacOS() ? $"lib{Name(kind)}.dylib" : $"lib{Name(kind)}.so";

    private static string RuntimeIdentifier()
    {
        string system = OperatingSystem.IsWindows() ? "win" : OperatingSystem.IsMacOS() ? "osx" : "linux";
        return $"{system}-{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}";
    }

    private sealed class WrongVersionException(string message) : DllNotFoundException(message);
}
