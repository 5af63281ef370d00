using System.IO.MemoryMappedFiles;

namespace FineTuneCore.Files;

/// <summary>A memory-mapped safetensors file; tensors are read where they lie, nothing is copied.</summary>
internal sealed unsafe class SafetensorsFile : IDisposable
{
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

    public void Dispose()
    {
        if (_view is null) return;
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _map!.Dispose();
    }
}
