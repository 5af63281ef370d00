using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

/// <summary>Owns one <c>ftc_stream</c>.</summary>
internal sealed class StreamHandle : SafeHandle
{
    public StreamHandle()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMethods.ftc_stream_destroy(handle);
        return true;
    }
}
