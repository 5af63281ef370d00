using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace FineTuneCore.Data;

/// <summary>
/// Token ids and loss masks of many samples, one after the other: in memory while they are few, in a temporary file once they are many, so that
/// memory does not grow with the dataset. The file has no name any more where the system allows that, and goes with the process.
/// </summary>
internal sealed class TokenPool(long mostBytesInMemory)
{
    /// <summary>Some six million tokens.</summary>
    internal const long DefaultBytesInMemory = 32L << 20;

    private const int WriteBytes = 1 << 20;

    private readonly List<long> _begins = [];
    private readonly List<int> _lengths = [];
    private byte[] _memory = []; // everything, or what the file does not have yet
    private int _used;
    private long _inFile;
    private SafeFileHandle? _file;
    private byte[] _scratch = [];
    private int _read = -1; // the sample in _scratch

    internal int Count => _lengths.Count;

    internal bool IsInFile => _file is not null;

    internal int LengthOf(int sample) => _lengths[sample];

    internal void Add(ReadOnlySpan<int> ids, ReadOnlySpan<byte> mask)
    {
        _begins.Add(_inFile + _used);
        _lengths.Add(ids.Length);
        Span<byte> place = Reserve(BytesOf(ids.Length));
        MemoryMarshal.AsBytes(ids).CopyTo(place);
        mask.CopyTo(place[(4 * ids.Length)..]);
    }

    /// <summary>Ids of a sample, valid until another sample is asked for.</summary>
    internal ReadOnlySpan<int> IdsOf(int sample) => MemoryMarshal.Cast<byte, int>(Bytes(sample)[..(4 * _lengths[sample])]);

    /// <summary>Mask of a sample, valid until another sample is asked for.</summary>
    internal ReadOnlySpan<byte> MaskOf(int sample) => Bytes(sample).Slice(4 * _lengths[sample], _lengths[sample]);

    /// <summary>Ids, mask, and what keeps the next sample's ids aligned.</summary>
    private static int BytesOf(int length) => checked(4 * length + (length + 3) / 4 * 4);

    private Span<byte> Reserve(int bytes)
    {
        if (_file is null && _used + (long)bytes > mostBytesInMemory) Spill();
        else if (_file is not null && _used + bytes > WriteBytes) Write();
        if (_used + bytes > _memory.Length) Array.Resize(ref _memory, Math.Max(_used + bytes, (int)Math.Min(2L * _memory.Length, mostBytesInMemory)));
        _used += bytes;
        return _memory.AsSpan(_used - bytes, bytes);
    }

    private void Spill()
    {
        string path = Path.Combine(Path.GetTempPath(), $"ftc-tokens-{Guid.NewGuid():N}");
        try
        {
            _file = File.OpenHandle(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, FileOptions.DeleteOnClose);
            if (!OperatingSystem.IsWindows()) File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unwritable(e);
        }

        Write();
        _memory = [];
    }

    private void Write()
    {
        try
        {
            RandomAccess.Write(_file!, _memory.AsSpan(0, _used), _inFile);
        }
        catch (IOException e)
        {
            throw Unwritable(e);
        }

        _inFile += _used;
        _used = 0;
    }

    private static FineTuneException Unwritable(Exception e) => FineTuneException.DoesNotFit(
        $"the tokens of the dataset cannot be kept in {Path.GetTempPath()}: {e.Message} Make room there, or point TMPDIR at a directory that has it.", e);

    private ReadOnlySpan<byte> Bytes(int sample)
    {
        long begin = _begins[sample];
        int bytes = BytesOf(_lengths[sample]);
        if (begin >= _inFile) return _memory.AsSpan((int)(begin - _inFile), bytes);
        if (_read == sample) return _scratch.AsSpan(0, bytes);
        if (_scratch.Length < bytes) _scratch = new byte[bytes];
        for (int at = 0; at < bytes;)
        {
            int n = RandomAccess.Read(_file!, _scratch.AsSpan(at, bytes - at), begin + at);
            if (n == 0) throw FineTuneException.Failed($"the temporary file of tokens ends at byte {begin + at}; something cut it while the run used it.");
            at += n;
        }

        _read = sample;
        return _scratch.AsSpan(0, bytes);
    }
}
