using FineTuneCore.Native;

namespace FineTuneCore.Kernels;

/// <summary>
/// The head of a language model and its loss in one: logits exist for a chunk of rows at a time, and rows that are not trained are not computed.
/// </summary>
public static unsafe class LinearCrossEntropy
{
    /// <summary>Target of a row that does not count.</summary>
    public const int IgnoreIndex = -100;

    /// <summary>nll_i = log Σ exp(W x_i) − (W x_i)[target_i], and its gradients where they are given.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="nll">Out, F32 [1, rows]; 0 where the target is <see cref="IgnoreIndex"/>.</param>
    /// <param name="x">[rows, hidden size], F32 or BF16.</param>
    /// <param name="weight">[vocab size, hidden size].</param>
    /// <param name="targets">I32 [1, rows]: token ids, or <see cref="IgnoreIndex"/>.</param>
    /// <param name="workspace">Of this stream.</param>
    /// <param name="dx">Out: gradientScale · dnll/dx; none to evaluate only.</param>
    /// <param name="gradientScale">Of every row: 1 / trained tokens of the batch.</param>
    /// <param name="dweight">F32 [vocab size, hidden size], added to; none when the head is frozen.</param>
    /// <param name="predictions">Out, I32 [1, rows]: the likeliest token; none = not wanted.</param>
    /// <exception cref="ArgumentException">A tensor has another shape or type, or lies in the wrong memory; the message names it.</exception>
    /// <exception cref="FtcException">A target is no token id.</exception>
    public static void Compute(
        DeviceStream stream, TensorView nll, TensorView x, LinearWeight weight, TensorView targets, Workspace workspace, TensorView dx = default,
        float gradientScale = 1, TensorView dweight = default, TensorView predictions = default)
    {
        const string Op = "LinearCrossEntropy.Compute";
        DType dtype = Check.Activations(x, Op);
        Check.In(stream, x, dtype, x.Rows, weight.Columns, Op);
        Check.Flat(stream, nll, DType.F32, x.Rows, written: true, Op);
        Check.Flat(stream, targets, DType.I32, x.Rows, written: false, Op);
        Check.OutOrNone(stream, dx, dtype, x.Rows, x.Columns, Op);
        Check.OutOrNone(stream, dweight, DType.F32, weight.Rows, weight.Columns, Op);
        if (!predictions.IsNone) Check.Flat(stream, predictions, DType.I32, x.Rows, written: true, Op);
        weight.CheckReadable(stream, Op);
        var p = new CrossEntropyParams
        {
            StructSize = (uint)sizeof(CrossEntropyParams), Dtype = (int)dtype, Rows = x.Rows, XRowStride = x.RowStride, DxRowStride = dx.RowStride,
            DweightRowStride = dweight.RowStride, GradientScale = gradientScale,
        };
        long bytes = WorkspaceBytes(stream.Device, dtype, weight, x.Rows);
        nint scratch = workspace.Reserve(stream, bytes, Op);
        fixed (byte* pnll = nll, ppredictions = predictions, pdx = dx, pdweight = dweight, px = x, ptargets = targets)
        fixed (byte* w0 = weight.Data, w1 = weight.Absmax, w2 = weight.NestedAbsmax, w3 = weight.NestedMap, w4 = weight.QuantMap, w5 = weight.Scale, w6 = weight.Minimum)
        {
            Weight native = weight.Native(w0, w1, w2, w3, w4, w5, w6);
            NativeMethods.ftc_linear_cross_entropy(
                stream.Handle, (nint)pnll, (nint)ppredictions, (nint)pdx, (nint)pdweight, (nint)px, in native, (nint)ptargets, in p, scratch,
                bytes).ThrowIfFailed();
        }
    }

    private static long WorkspaceBytes(Device device, DType dtype, in LinearWeight weight, long rows)
    {
        var p = new CrossEntropyWorkspaceParams
        {
            StructSize = (uint)sizeof(CrossEntropyWorkspaceParams), Dtype = (int)dtype, WeightFormat = weight.Format, Rows = rows,
            HiddenSize = weight.Columns, VocabSize = weight.Rows,
        };
        NativeMethods.ftc_linear_cross_entropy_workspace_bytes(device.Handle, in p, out long bytes).ThrowIfFailed();
        return bytes;
    }
}
