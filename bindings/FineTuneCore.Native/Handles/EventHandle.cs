using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

/// <summary>Owns one <c>ftc_event</c>.</summary>
internal sealed class EventHandle : SafeHandle
{
    public EventHandle()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMethods.ftc_event_destroy(handle);
        return true;
    }
}
