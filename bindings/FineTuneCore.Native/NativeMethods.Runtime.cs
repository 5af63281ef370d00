using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

/// <summary>The imports of <c>ftc.h</c>, names letter for letter, one file per section of the header.</summary>
internal static partial class NativeMethods
{
    internal const string Library = "ftc";

    [LibraryImport(Library)]
    internal static partial int ftc_version();

    [LibraryImport(Library)]
    internal static partial nint ftc_last_error_message();

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_get_device_count(out int count);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_context_create(out ContextHandle context, in ContextParams parameters);

    [LibraryImport(Library)]
    internal static partial void ftc_context_destroy(nint context);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_context_get_info(ContextHandle context, ref ContextInfo info);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_stream_create(out StreamHandle stream, ContextHandle context);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_stream_create_background(out StreamHandle stream, ContextHandle context, int sharePercent);

    [LibraryImport(Library)]
    internal static partial void ftc_stream_destroy(nint stream);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_stream_synchronize(StreamHandle stream);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_measure_peak(StreamHandle stream, int dtype, out double flopsPerSecond);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_event_create(out EventHandle deviceEvent, ContextHandle context);

    [LibraryImport(Library)]
    internal static partial void ftc_event_destroy(nint deviceEvent);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_event_record(EventHandle deviceEvent, StreamHandle stream);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_stream_wait_event(StreamHandle stream, EventHandle deviceEvent);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_buffer_create(out BufferHandle buffer, ContextHandle context, long sizeBytes);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_buffer_borrow(out BufferHandle buffer, ContextHandle context, nint data, long sizeBytes);

    [LibraryImport(Library)]
    internal static partial void ftc_buffer_destroy(nint buffer);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_buffer_get_data(BufferHandle buffer, out nint data, out long sizeBytes);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_host_buffer_create(out HostBufferHandle buffer, ContextHandle context, long sizeBytes);

    [LibraryImport(Library)]
    internal static partial void ftc_host_buffer_destroy(nint buffer);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_host_buffer_get_data(HostBufferHandle buffer, out nint data, out long sizeBytes);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_copy_from_host(StreamHandle stream, nint device, nint host, long sizeBytes);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_copy_to_host(StreamHandle stream, nint host, nint device, long sizeBytes);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_copy(StreamHandle stream, nint y, nint x, long sizeBytes);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_fill_zero(StreamHandle stream, nint y, long sizeBytes);
}
