using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;

namespace FineTuneCore.Files;

/// <summary>A memory-mapped safetensors file; tensors are read where they lie, nothing is copied.</summary>
internal sealed unsafe partial class SafetensorsFile : IDisposable
{
    private const int MadviseDontNeed = 4;

    private readonly MemoryMappedFile? _map;
    private readonly MemoryMappedViewAccessor? _view;
    private readonly byte* _base;

    private SafetensorsFile(string path, SafetensorsHeader header, MemoryMappedFile? map)
    {
        Path = path;
        Header = header;
        _map = map;
        if (map is null) return;
        _view = map.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _base);
        _base += _view.PointerOffset;
    }

    internal string Path { get; }

    internal SafetensorsHeader Header { get; }

    /// <summary>Opens and checks a file.</summary>
    /// <exception cref="FineTuneException">Missing, unreadable, truncated or hostile.</exception>
    internal static SafetensorsFile Open(string path)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            SafetensorsHeader header = SafetensorsHeader.Read(stream, path);
            bool hasData = stream.Length > header.DataOffset;
            MemoryMappedFile? map = hasData
                ? MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read)
                : null;
            return new SafetensorsFile(path, header, map);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw FineTuneException.Failed($"{path} cannot be read: {e.Message}", e);
        }
    }

    /// <summary>The bytes of a tensor, valid until this file is disposed.</summary>
    internal ReadOnlySpan<byte> Bytes(TensorEntry entry) => new(Address(entry), checked((int)entry.ByteCount));

    /// <summary>Where a tensor lies in memory, valid until this file is disposed.</summary>
    internal byte* Address(TensorEntry entry) => _base + Header.DataOffset + entry.Begin;

    /// <summary>
    /// Bytes that were read and are not needed where they lie need no memory of this process any more; read again, they come back from the file.
    /// </summary>
    internal static void Forget(byte* begin, long count)
    {
        if (!OperatingSystem.IsLinux()) return;
        nint page = Environment.SystemPageSize, first = (nint)begin / page * page;
        _ = madvise(first, (nint)begin + (nint)count - first, MadviseDontNeed); // advice: nothing depends on it
    }

    [LibraryImport("libc")]
    private static partial int madvise(nint address, nint length, int advice);

    public void Dispose()
    {
        if (_view is null) return;
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _map!.Dispose();
    }
}
