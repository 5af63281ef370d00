using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

internal static unsafe partial class NativeMethods
{
    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_linear_get_layout(
        ContextHandle context, long inFeatures, long outFeatures, long rank, int dtype, ref LinearLayout layout);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_linear_forward(
        StreamHandle stream, nint y, nint x, in Weight weight, nint bias, LoraSegment* segments, int segmentCount,
        in LinearParams parameters, nint workspace, long workspaceBytes);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_linear_backward(
        StreamHandle stream, nint dx, nint dweight, nint dbias, nint dy, nint x, in Weight weight, LoraSegment* segments,
        int segmentCount, in LinearParams parameters, nint workspace, long workspaceBytes);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_linear_workspace_bytes(
        ContextHandle context, in LinearWorkspaceParams parameters, out long bytes);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_linear_tune(StreamHandle stream, ref long packedRows);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_linear_cross_entropy(
        StreamHandle stream, nint nll, nint predictions, nint dx, nint dweight, nint x, in Weight weight, nint targets,
        in CrossEntropyParams parameters, nint workspace, long workspaceBytes);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_linear_cross_entropy_workspace_bytes(
        ContextHandle context, in CrossEntropyWorkspaceParams parameters, out long bytes);
}
