using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_stream_begin_capture(StreamHandle stream);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_stream_end_capture(StreamHandle stream, out GraphHandle graph);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_graph_launch(StreamHandle stream, GraphHandle graph);

    [LibraryImport(Library)]
    internal static partial void ftc_graph_destroy(nint graph);
}
