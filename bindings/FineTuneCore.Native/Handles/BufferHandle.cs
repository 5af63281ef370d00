using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

/// <summary>Owns one <c>ftc_buffer</c>.</summary>
internal sealed class BufferHandle : SafeHandle
{
    public BufferHandle()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMethods.ftc_buffer_destroy(handle);
        return true;
    }
}
