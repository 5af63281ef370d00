using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

/// <summary>
/// The one native library of this process: chosen before the first call into it, the CPU's where nobody chose.
/// <c>FTC_LIBRARY_PATH</c> forces a file, of either kind.
/// </summary>
public static class NativeLibraryLoader
{
    private static readonly object Gate = new(); // Lock is not in .NET 8
    private static NativeLibraryKind? _kind;
    private static string? _loadedFrom;
    private static nint _library;

    /// <summary>Where the native library was loaded from; null until the first call into it.</summary>
    public static string? LoadedFrom => _loadedFrom;

    /// <summary>The kind that was chosen or loaded; null while both are open. A forced file's kind is told by the context it opens.</summary>
    public static NativeLibraryKind? Kind => _kind;

    /// <summary>Whether <c>FTC_LIBRARY_PATH</c> names the file to load, whatever is chosen.</summary>
    public static bool IsForced => Environment.GetEnvironmentVariable(LibrarySearch.ForcedBy(NativeLibraryKind.Cpu)) is { Length: > 0 };

    /// <summary>Version of the native library as major.minor.patch; loads it.</summary>
    /// <exception cref="DllNotFoundException">No library was found; the message lists every place tried and what to install.</exception>
    public static string Version => LibrarySearch.Text(NativeMethods.ftc_version());

    /// <summary>Chooses the library that the first call will load.</summary>
    /// <exception cref="InvalidOperationException">The other kind is loaded already: a process has one native library.</exception>
    public static void Use(NativeLibraryKind kind)
    {
        lock (Gate)
        {
            if (_library != 0 && _kind != kind && !IsForced)
                throw new InvalidOperationException($"this process has loaded {_loadedFrom} already, and a process has one native library; use another process for the other device");
            if (_library == 0) _kind = kind;
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
            _kind ??= NativeLibraryKind.Cpu;
            if (_library == 0) (_library, _loadedFrom) = LibrarySearch.Load(IsForced ? NativeLibraryKind.Cpu : _kind.Value);
            return _library;
        }
    }
}
