using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_convert(StreamHandle stream, nint y, int yDtype, nint x, int xDtype, long count);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_nf4_quantize(StreamHandle stream, nint codes, nint absmax, nint x, long count);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_nf4_quantize_absmax(
        StreamHandle stream, nint codes, nint nestedAbsmax, nint nestedOffset, nint absmax, nint nestedMap, long count);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_int8_quantize(
        StreamHandle stream, nint codes, nint scale, nint x, long rows, long cols, long xRowStride);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_affine_quantize(
        StreamHandle stream, nint codes, nint scale, nint minimum, nint x, in AffineQuantizeParams parameters);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_affine_merge(
        StreamHandle stream, nint minimum, nint b, nint a, long rows, long groups, int rank, int groupSize, float scaling);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_weight_dequantize(
        StreamHandle stream, nint y, int yDtype, long yRowStride, in Weight weight, long rowBegin, long rowCount);
}
