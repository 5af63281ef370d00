using System.Text;
using FineTuneCore.Native;

namespace FineTuneCore.Kernels;

/// <summary>
/// A CPU or a GPU that kernels run on, with its threads and its limit of memory. Devices are independent of each other; what belongs to one is used
/// from one thread at a time. Dispose streams and buffers before their device.
/// </summary>
public sealed unsafe class Device : IDisposable
{
    private Device(NativeLibraryKind kind, int index, int threads, long memoryLimitBytes)
    {
        NativeLibraryLoader.Use(kind);
        var parameters = new ContextParams
        {
            StructSize = (uint)sizeof(ContextParams), DeviceIndex = index, Threads = threads, MemoryLimitBytes = memoryLimitBytes,
        };
        FtcStatus status = NativeMethods.ftc_context_create(out ContextHandle handle, in parameters);
        Handle = handle;
        if (status != FtcStatus.Ok) handle.Dispose();
        status.ThrowIfFailed();
        ContextInfo info = NativeInfo();
        (Kind, Name, InstructionSet, Threads) = (Text(info.DeviceKind), Text(info.DeviceName), Text(info.Isa), info.Threads);
        if (Kind == (kind == NativeLibraryKind.Cuda ? "cuda" : "cpu")) return;
        handle.Dispose();
        throw new InvalidOperationException($"{NativeLibraryLoader.LoadedFrom}, which FTC_LIBRARY_PATH forces, is a library for {Kind}, expected one for {kind}; unset the variable");
    }

    /// <summary>cpu or cuda.</summary>
    public string Kind { get; }

    /// <summary>Model.</summary>
    public string Name { get; }

    /// <summary>portable, avx2, avx512 or avx512bf16; of a GPU its compute capability, such as sm_90.</summary>
    public string InstructionSet { get; }

    /// <summary>Threads that ops run on; of a GPU 0 or 1.</summary>
    public int Threads { get; }

    /// <summary>Whether ops read and write ordinary memory, so that spans can be given to them.</summary>
    public bool ReadsHostMemory => Kind == "cpu";

    /// <summary>Bytes of memory that buffers may still take.</summary>
    public long MemoryAvailableBytes => NativeInfo().MemoryAvailableBytes;

    internal ContextHandle Handle { get; }

    /// <summary>Opens the CPU.</summary>
    /// <param name="threads">1 to 256; 0 = as many as this process may use.</param>
    /// <param name="memoryLimitBytes">Of all buffers together; 0 = what is free.</param>
    /// <exception cref="DllNotFoundException">There is no kernel library; the message says what was tried and which package to add.</exception>
    /// <exception cref="FtcException">The library refused.</exception>
    public static Device OpenCpu(int threads = 0, long memoryLimitBytes = 0) => new(NativeLibraryKind.Cpu, 0, threads, memoryLimitBytes);

    /// <summary>Opens a GPU.</summary>
    /// <param name="index">N of cuda:N.</param>
    /// <param name="memoryLimitBytes">Of all buffers together; 0 = what is free.</param>
    /// <exception cref="DllNotFoundException">There is no CUDA library; the message says what was tried and which package to add.</exception>
    /// <exception cref="FtcException">There is no driver or no such GPU.</exception>
    /// <exception cref="InvalidOperationException">This process has opened the CPU: a process has one kernel library.</exception>
    public static Device OpenCuda(int index = 0, long memoryLimitBytes = 0) => new(NativeLibraryKind.Cuda, index, 0, memoryLimitBytes);

    /// <summary>An ordered queue of ops.</summary>
    public DeviceStream CreateStream() => new(this);

    /// <summary>Zeroed memory of this device, aligned to 64 bytes.</summary>
    /// <param name="sizeBytes">From 1.</param>
    /// <exception cref="FtcException">Out of memory: it exceeds what is free, or the device's limit; nothing was allocated.</exception>
    public DeviceBuffer Allocate(long sizeBytes)
    {
        FtcStatus status = NativeMethods.ftc_buffer_create(out BufferHandle handle, Handle, sizeBytes);
        return DeviceBuffer.Owning(status, handle);
    }

    /// <summary>Somebody else's memory as a buffer, such as a mapped file; it must outlive the buffer, which does not free it.</summary>
    /// <param name="address">Of this device's memory.</param>
    /// <param name="sizeBytes">From 1.</param>
    public DeviceBuffer Borrow(nint address, long sizeBytes)
    {
        FtcStatus status = NativeMethods.ftc_buffer_borrow(out BufferHandle handle, Handle, address, sizeBytes);
        return DeviceBuffer.Owning(status, handle);
    }

    /// <inheritdoc/>
    public void Dispose() => Handle.Dispose();

    private ContextInfo NativeInfo()
    {
        var info = new ContextInfo { StructSize = (uint)sizeof(ContextInfo) };
        NativeMethods.ftc_context_get_info(Handle, ref info).ThrowIfFailed();
        return info;
    }

    private static string Text(ReadOnlySpan<byte> utf8) => Encoding.UTF8.GetString(utf8.IndexOf((byte)0) is >= 0 and int end ? utf8[..end] : utf8);
}
