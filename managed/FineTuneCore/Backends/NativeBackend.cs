using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using FineTuneCore.Native;
using FineTuneCore.Tensors;

namespace FineTuneCore.Backends;

/// <summary>Whichever native library was loaded: memory here, ops in the other part of this class.</summary>
internal sealed unsafe partial class NativeBackend : IBackend
{
    private readonly ContextHandle _context;
    private readonly StreamHandle _stream;
    private long _bufferLimit = long.MaxValue;

    /// <summary>Opens a device of the loaded library; 0 threads means as many as this process may use, 0 bytes what the device has free.</summary>
    /// <exception cref="FtcException">The library refused, for instance an ISA this CPU lacks.</exception>
    internal NativeBackend(int threads = 0, long memoryLimitBytes = 0, int deviceIndex = 0)
    {
        var parameters = new ContextParams
        {
            StructSize = (uint)sizeof(ContextParams),
            DeviceIndex = deviceIndex,
            Threads = threads,
            MemoryLimitBytes = memoryLimitBytes,
        };
        NativeMethods.ftc_context_create(out _context, in parameters).ThrowIfFailed();
        NativeMethods.ftc_stream_create(out _stream, _context).ThrowIfFailed();
        ReadsHostMemory = Info.Kind == "cpu";
        CapturesGraphs = NativeInfo().CapturesGraphs != 0;
    }

    public DeviceInfo Info
    {
        get
        {
            ContextInfo info = NativeInfo();
            return new DeviceInfo(
                Name(info.DeviceKind), Name(info.DeviceName), Name(info.Isa), info.Threads, info.MemoryTotalBytes,
                info.MemoryAvailableBytes, info.MemoryUsedBytes, info.HostMemoryUsedBytes, info.MemoryOverheadBytes);
        }
    }

    public bool ReadsHostMemory { get; }

    public bool CapturesGraphs { get; }

    public DeviceBuffer Allocate(long sizeBytes, string purpose)
    {
        if (sizeBytes > _bufferLimit - MemoryUsed)
        {
            throw FineTuneException.DoesNotFit(
                $"no memory for {purpose}: {sizeBytes} bytes are needed, {_bufferLimit - MemoryUsed} of {_bufferLimit} are left for buffers; raise --vram.");
        }

        FtcStatus status = NativeMethods.ftc_buffer_create(out BufferHandle handle, _context, Math.Max(sizeBytes, 1));
        if (status != FtcStatus.Ok) throw Refused(status, handle, purpose);
        MemoryUsed += sizeBytes;
        MemoryPeak = Math.Max(MemoryPeak, MemoryUsed);
        return new NativeBuffer(handle, sizeBytes, () => MemoryUsed -= sizeBytes);
    }

    public DeviceBuffer AllocateHost(long sizeBytes, string purpose)
    {
        FtcStatus status = NativeMethods.ftc_host_buffer_create(out HostBufferHandle handle, _context, Math.Max(sizeBytes, 1));
        if (status != FtcStatus.Ok) throw Refused(status, handle, purpose);
        return new NativeHostBuffer(handle, sizeBytes);
    }

    /// <summary>Bytes of the buffers there are.</summary>
    internal long MemoryUsed { get; private set; }

    public long MemoryPeak { get; private set; }

    public void LimitBuffers(long bytes) => _bufferLimit = bytes;

    private static Exception Refused(FtcStatus status, SafeHandle handle, string purpose)
    {
        handle.Dispose();
        try
        {
            status.ThrowIfFailed();
        }
        catch (FtcException e) when (e.Status == FtcStatus.OutOfMemory)
        {
            return FineTuneException.DoesNotFit($"no memory for {purpose}: {e.Message}", e);
        }

        return new InvalidOperationException("unreachable: a failed status throws");
    }

    public DeviceBuffer? TryBorrow(nint data, long sizeBytes)
    {
        if (!ReadsHostMemory) return null;
        NativeMethods.ftc_buffer_borrow(out BufferHandle handle, _context, data, sizeBytes).ThrowIfFailed();
        return new NativeBuffer(handle, sizeBytes, null);
    }

    public void Upload<T>(Tensor destination, ReadOnlySpan<T> source)
        where T : unmanaged
    {
        Check(destination, (long)source.Length * sizeof(T));
        fixed (T* p = source)
            NativeMethods.ftc_copy_from_host(_stream, Address(destination), (nint)p, (long)source.Length * sizeof(T)).ThrowIfFailed();
    }

    public void Download<T>(Span<T> destination, Tensor source)
        where T : unmanaged
    {
        Check(source, (long)destination.Length * sizeof(T));
        fixed (T* p = destination)
            NativeMethods.ftc_copy_to_host(_stream, (nint)p, Address(source), (long)destination.Length * sizeof(T)).ThrowIfFailed();
    }

    public void Zero(Tensor contiguous) =>
        NativeMethods.ftc_fill_zero(_stream, Address(contiguous), Bytes(contiguous)).ThrowIfFailed();

    public void Copy(Tensor destination, Tensor contiguous)
    {
        Check(destination, Bytes(contiguous));
        NativeMethods.ftc_copy(_stream, Address(destination), Address(contiguous), Bytes(contiguous)).ThrowIfFailed();
    }

    /// <summary>None on CUDA, whose roof no chain in registers shows.</summary>
    public double? MeasurePeak(DType dtype)
    {
        FtcStatus status = NativeMethods.ftc_measure_peak(_stream, (int)dtype, out double peak);
        if (status == FtcStatus.Unsupported) return null;
        status.ThrowIfFailed();
        return peak;
    }

    public void Synchronize() => NativeMethods.ftc_stream_synchronize(_stream).ThrowIfFailed();

    public void BeginCapture() => NativeMethods.ftc_stream_begin_capture(_stream).ThrowIfFailed();

    public DeviceGraph EndCapture()
    {
        FtcStatus status = NativeMethods.ftc_stream_end_capture(_stream, out GraphHandle handle);
        if (status != FtcStatus.Ok) handle.Dispose();
        status.ThrowIfFailed();
        return new NativeGraph(handle);
    }

    public void Launch(DeviceGraph graph) => NativeMethods.ftc_graph_launch(_stream, ((NativeGraph)graph).Handle).ThrowIfFailed();

    public void Dispose()
    {
        foreach (BackgroundStream? stream in _background) stream?.Dispose();
        _stream.Dispose();
        _context.Dispose();
    }

    private ContextInfo NativeInfo()
    {
        var info = new ContextInfo { StructSize = (uint)sizeof(ContextInfo) };
        NativeMethods.ftc_context_get_info(_context, ref info).ThrowIfFailed();
        return info;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static nint Address(Tensor tensor) =>
        tensor.Buffer is null ? 0 : ((NativeMemory)tensor.Buffer).Data + (nint)tensor.ByteOffset;

    private static long Bytes(Tensor contiguous) => contiguous.Rows * contiguous.RowStride * contiguous.DType.Size();

    private static void Check(Tensor tensor, long bytes)
    {
        if (tensor.Buffer is null || tensor.ByteOffset + bytes > tensor.Buffer.SizeBytes)
            throw new ArgumentException($"a copy of {bytes} bytes runs past a buffer of {tensor.Buffer?.SizeBytes ?? 0} bytes (offset {tensor.ByteOffset})");
    }

    private static string Name(ReadOnlySpan<byte> utf8) =>
        Encoding.UTF8.GetString(utf8.IndexOf((byte)0) is >= 0 and int end ? utf8[..end] : utf8);
}
