using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

internal static class FtcStatusExtensions
{
    /// <summary>Turns a failed status into an <see cref="FtcException"/> with the library's sentence.</summary>
    internal static void ThrowIfFailed(this FtcStatus status)
    {
        if (status != FtcStatus.Ok) Throw(status);
    }

    private static void Throw(FtcStatus status)
    {
        string? message = Marshal.PtrToStringUTF8(NativeMethods.ftc_last_error_message());
        throw new FtcException(status, string.IsNullOrEmpty(message) ? $"the native library answered {status}" : message);
    }
}
