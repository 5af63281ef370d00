using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

/// <summary>Owns one <c>ftc_host_buffer</c>.</summary>
internal sealed class HostBufferHandle : SafeHandle
{
    public HostBufferHandle()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMethods.ftc_host_buffer_destroy(handle);
        return true;
    }
}
