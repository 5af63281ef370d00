using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

/// <summary>Owns one <c>ftc_context</c>.</summary>
internal sealed class ContextHandle : SafeHandle
{
    public ContextHandle()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMethods.ftc_context_destroy(handle);
        return true;
    }
}
