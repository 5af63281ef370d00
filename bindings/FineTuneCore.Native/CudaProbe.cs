using System.Runtime.InteropServices;
using System.Text;

namespace FineTuneCore.Native;

/// <summary>A GPU the CUDA library can open.</summary>
/// <param name="Index">N of cuda:N.</param>
/// <param name="Name">Model.</param>
/// <param name="Isa">Compute capability, such as sm_90.</param>
/// <param name="MemoryTotalBytes">Of the card.</param>
/// <param name="MemoryAvailableBytes">Free now.</param>
/// <param name="MemoryOverheadBytes">What the driver takes of it for a process.</param>
/// <param name="Problem">Why it cannot be opened, in the library's words; null when it can.</param>
public sealed record CudaDevice(int Index, string Name, string Isa, long MemoryTotalBytes, long MemoryAvailableBytes, long MemoryOverheadBytes, string? Problem);

/// <summary>
/// Whether this machine can train on CUDA, found out without making the CUDA library the one of this process: is it there, does a
/// driver answer, how many GPUs, or the sentence that says why not.
/// </summary>
public sealed unsafe class CudaProbe
{
    private static readonly Lazy<CudaProbe> Once = new(() => new CudaProbe());
    private readonly nint _library;

    private CudaProbe()
    {
        try
        {
            (_library, Path) = LibrarySearch.Load(NativeLibraryKind.Cuda);
        }
        catch (DllNotFoundException e)
        {
            Problem = e.Message;
            return;
        }

        Version = LibrarySearch.Text(((delegate* unmanaged[Cdecl]<int>)Export(nameof(NativeMethods.ftc_version)))());
        int count = 0;
        FtcStatus status = ((delegate* unmanaged[Cdecl]<int*, FtcStatus>)Export(nameof(NativeMethods.ftc_get_device_count)))(&count);
        if (status != FtcStatus.Ok) Problem = LastError();
        else if (count == 0) Problem = "the CUDA library found no NVIDIA GPU";
        DeviceCount = status == FtcStatus.Ok ? count : 0;
    }

    /// <summary>The answer for this process; asked once.</summary>
    public static CudaProbe Result => Once.Value;

    /// <summary>File of the CUDA library; null where there is none.</summary>
    public string? Path { get; }

    /// <summary>Its version; null where there is none.</summary>
    public string? Version { get; }

    /// <summary>GPUs, cuda:0 to cuda:(DeviceCount - 1).</summary>
    public int DeviceCount { get; }

    /// <summary>Why there is no GPU to use; null when there is one.</summary>
    public string? Problem { get; }

    /// <summary>Opens each GPU for a moment and says what it is.</summary>
    public IReadOnlyList<CudaDevice> Devices() => [.. Enumerable.Range(0, DeviceCount).Select(Open)];

    private CudaDevice Open(int index)
    {
        var parameters = new ContextParams { StructSize = (uint)sizeof(ContextParams), DeviceIndex = index };
        nint context = 0;
        var create = (delegate* unmanaged[Cdecl]<nint*, ContextParams*, FtcStatus>)Export(nameof(NativeMethods.ftc_context_create));
        if (create(&context, &parameters) != FtcStatus.Ok) return new CudaDevice(index, "", "", 0, 0, 0, LastError());
        var info = new ContextInfo { StructSize = (uint)sizeof(ContextInfo) };
        var getInfo = (delegate* unmanaged[Cdecl]<nint, ContextInfo*, FtcStatus>)Export(nameof(NativeMethods.ftc_context_get_info));
        string? problem = getInfo(context, &info) == FtcStatus.Ok ? null : LastError();
        ((delegate* unmanaged[Cdecl]<nint, void>)Export(nameof(NativeMethods.ftc_context_destroy)))(context);
        return new CudaDevice(index, Text(info.DeviceName), Text(info.Isa), info.MemoryTotalBytes, info.MemoryAvailableBytes, info.MemoryOverheadBytes, problem);
    }

    private string LastError() => Marshal.PtrToStringUTF8(
        ((delegate* unmanaged[Cdecl]<nint>)Export(nameof(NativeMethods.ftc_last_error_message)))()) ?? "";

    private nint Export(string name) => NativeLibrary.GetExport(_library, name);

    private static string Text(ReadOnlySpan<byte> utf8) =>
        Encoding.UTF8.GetString(utf8.IndexOf((byte)0) is >= 0 and int end ? utf8[..end] : utf8);
}
