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
    internal static (nint Library, string Path) Load(NativeLibraryKind kind) =>
        Load(kind, Environment.GetEnvironmentVariable(ForcedBy(kind)), AppContext.BaseDirectory);

    /// <param name="kind">Which library.</param>
    /// <param name="forced">The file to load; null or empty = look for one.</param>
    /// <param name="directory">Where the program lies.</param>
    internal static (nint Library, string Path) Load(NativeLibraryKind kind, string? forced, string directory)
    {
        var tried = new List<string>();
        if (!string.IsNullOrEmpty(forced))
        {
            // A forced path is forced: nothing else is tried, so that nobody measures the wrong library.
            return TryLoad(kind, forced, tried) is { } library ? (library, forced) : throw NotFound(kind, tried);
        }

        string file = FileName(kind);
        foreach (string candidate in (string[])[
            Path.Combine(directory, "runtimes", RuntimeIdentifier(), "native", file), Path.Combine(directory, file)])
        {
            if (TryLoad(kind, candidate, tried) is { } library) return (library, candidate);
        }

        string name = Name(kind);
        if (NativeLibrary.TryLoad(name, typeof(LibrarySearch).Assembly, null, out nint byDefault)) return (Checked(byDefault, kind, name), name);
        tried.Add($"{name} (the system's search path)");
        throw NotFound(kind, tried);
    }

    /// <summary>The environment variable that names the library's file.</summary>
    internal static string ForcedBy(NativeLibraryKind kind) => kind == NativeLibraryKind.Cuda ? "FTC_CUDA_LIBRARY_PATH" : "FTC_LIBRARY_PATH";

    internal static string Text(int version) => $"{version / 1_000_000}.{version / 1_000 % 1_000}.{version % 1_000}";

    private static nint? TryLoad(NativeLibraryKind kind, string path, List<string> tried)
    {
        if (!File.Exists(path))
        {
            tried.Add($"{path} (no such file)");
            return null;
        }

        try
        {
            return Checked(NativeLibrary.Load(path), kind, path);
        }
        catch (Exception e) when (e is BadImageFormatException || (e is DllNotFoundException && e is not WrongVersionException))
        {
            tried.Add($"{path} ({e.Message.ReplaceLineEndings(" ")})");
            return null;
        }
    }

    /// <summary>Refuses a library of another version: a changed struct would be read as noise.</summary>
    private static unsafe nint Checked(nint library, NativeLibraryKind kind, string path)
    {
        if (!NativeLibrary.TryGetExport(library, nameof(NativeMethods.ftc_version), out nint version))
            throw new DllNotFoundException($"exports no {nameof(NativeMethods.ftc_version)}, so it is no library of FineTuneCore");
        CheckVersion(((delegate* unmanaged[Cdecl]<int>)version)(), kind, path);
        return library;
    }

    internal static void CheckVersion(int version, NativeLibraryKind kind, string path)
    {
        if (version / 1_000_000 == ExpectedMajor && version / 1_000 % 1_000 == ExpectedMinor) return;
        throw new WrongVersionException(
            $"{path} is version {Text(version)} of the kernel library, expected {ExpectedMajor}.{ExpectedMinor}.x; reference {Package(kind)} in the version of " +
            "FineTuneCore.Native, or rebuild the library with ./build.sh native");
    }

    private static DllNotFoundException NotFound(NativeLibraryKind kind, List<string> tried) => new(
        kind == NativeLibraryKind.Cuda
            ? $"the CUDA library of FineTuneCore was not found for {RuntimeIdentifier()}. Tried: {string.Join("; ", tried)}. " +
              $"Add the package {Package(kind)}, build it with FTC_CUDA=ON ./build.sh native, or point FTC_CUDA_LIBRARY_PATH at the file."
            : $"the native library of FineTuneCore was not found for {RuntimeIdentifier()}. Tried: {string.Join("; ", tried)}. " +
              $"Add the package {Package(kind)}, build it with ./build.sh native, or point FTC_LIBRARY_PATH at the file.");

    private static string Package(NativeLibraryKind kind) => kind == NativeLibraryKind.Cuda ? "FineTuneCore.Runtime.Cuda" : "FineTuneCore.Runtime.Cpu";

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
