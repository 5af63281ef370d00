using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

/// <summary>Owns one <c>ftc_graph</c>; disposed before its stream.</summary>
internal sealed class GraphHandle : SafeHandle
{
    public GraphHandle()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMethods.ftc_graph_destroy(handle);
        return true;
    }
}
