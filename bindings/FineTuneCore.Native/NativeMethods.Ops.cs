using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_embedding_forward(
        StreamHandle stream, nint y, nint ids, in Weight weight, in EmbeddingParams parameters);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_embedding_backward(
        StreamHandle stream, nint dweight, nint dy, nint ids, long vocabSize, long hiddenSize, in EmbeddingParams parameters);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_rms_norm_forward(
        StreamHandle stream, nint y, nint sum, nint rstd, nint x, nint residual, nint weight, in RmsNormParams parameters);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_rms_norm_backward(
        StreamHandle stream, nint dx, nint dweight, nint dy, nint dsum, nint x, nint rstd, nint weight, in RmsNormParams parameters);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_rope_forward(
        StreamHandle stream, nint x, nint positions, nint cos, nint sin, in RopeParams parameters);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_rope_backward(
        StreamHandle stream, nint dx, nint positions, nint cos, nint sin, in RopeParams parameters);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_attention_forward(
        StreamHandle stream, nint o, nint lse, nint q, nint k, nint v, nint keyBegin, in AttentionParams parameters, nint workspace,
        long workspaceBytes);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_attention_backward(
        StreamHandle stream, nint dq, nint dk, nint dv, nint dout, nint q, nint k, nint v, nint o, nint lse, nint keyBegin,
        in AttentionParams parameters, nint workspace, long workspaceBytes);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_attention_workspace_bytes(
        ContextHandle context, in AttentionParams parameters, int backward, out long bytes);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_swiglu_forward(StreamHandle stream, nint y, nint gate, nint up, in SwigluParams parameters);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_swiglu_backward(
        StreamHandle stream, nint dgate, nint dup, nint dy, nint gate, nint up, in SwigluParams parameters);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_adamw_get_update_values(out UpdateValues values, in AdamwParams parameters);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_adamw_step(
        StreamHandle stream, nint parameter, nint m, nint v, nint gradient, in AdamwParams parameters);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_adamw_8bit_step(
        StreamHandle stream, nint parameter, nint mCodes, nint vCodes, nint mAbsmax, nint vAbsmax, nint gradient, nint mMap, nint vMap,
        in AdamwParams parameters);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_sgd_step(
        StreamHandle stream, nint parameter, nint velocity, nint gradient, in SgdParams parameters);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_sum_of_squares(StreamHandle stream, nint sum, nint x, long count);

    [LibraryImport(Library)]
    internal static partial FtcStatus ftc_clip_gradients(StreamHandle stream, nint values, nint sum, nint nll, long count, float clipNorm);
}
