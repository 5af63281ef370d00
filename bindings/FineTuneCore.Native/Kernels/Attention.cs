using FineTuneCore.Native;

namespace FineTuneCore.Kernels;

/// <summary>
/// o_i = softmax_j(scale · q_i · k_j) v_j over the keys j from keyBegin[i] up to the query's own row, per head: causal, sliding windows, packed documents
/// and decoding over a cache by one interval. Dao 2023, arXiv:2307.08691; the square of scores is never in memory.
/// </summary>
public static unsafe class Attention
{
    /// <summary>Attends.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="o">Out [queries, heads · head dim].</param>
    /// <param name="q">[queries, heads · head dim], F32 or BF16.</param>
    /// <param name="k">[keys, key-value heads · head dim].</param>
    /// <param name="v">As <paramref name="k"/>.</param>
    /// <param name="shape">Heads, scale and place.</param>
    /// <param name="workspace">Of this stream.</param>
    /// <param name="lse">Out, F32 [queries, heads]: logarithm of the sum of exponents, for backward; none when not training.</param>
    /// <param name="keyBegin">I32 [1, queries], not decreasing: the first key of each query; none = 0.</param>
    /// <exception cref="ArgumentException">A tensor has another shape or type, or lies in the wrong memory; the message names it.</exception>
    /// <exception cref="FtcException">The library refused.</exception>
    public static void Forward(
        DeviceStream stream, TensorView o, TensorView q, TensorView k, TensorView v, AttentionShape shape, Workspace workspace, TensorView lse = default,
        TensorView keyBegin = default)
    {
        const string Op = "Attention.Forward";
        DType dtype = CheckInputs(stream, q, k, v, keyBegin, shape, Op);
        Check.Out(stream, o, dtype, q.Rows, q.Columns, Op);
        if (!lse.IsNone) Check.Flat(stream, lse, DType.F32, q.Rows * shape.Heads, written: true, Op);
        AttentionParams p = Params(dtype, q, k, v, o, shape);
        long bytes = WorkspaceBytes(stream.Device, p, backward: false);
        nint scratch = workspace.Reserve(stream, bytes, Op);
        fixed (byte* po = o, plse = lse, pq = q, pk = k, pv = v, pbegin = keyBegin)
        {
            NativeMethods.ftc_attention_forward(
                stream.Handle, (nint)po, (nint)plse, (nint)pq, (nint)pk, (nint)pv, (nint)pbegin, in p, scratch, bytes).ThrowIfFailed();
        }
    }

    /// <summary>Gradients of q, k and v, written and not added to.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="dq">Out, as <paramref name="q"/> and not it.</param>
    /// <param name="dk">Out, as <paramref name="k"/> and not it.</param>
    /// <param name="dv">Out, as <paramref name="v"/> and not it.</param>
    /// <param name="dout">[queries, heads · head dim].</param>
    /// <param name="q">As in forward.</param>
    /// <param name="k">As in forward.</param>
    /// <param name="v">As in forward.</param>
    /// <param name="o">As forward left it.</param>
    /// <param name="lse">As forward left it.</param>
    /// <param name="shape">As in forward.</param>
    /// <param name="workspace">Of this stream.</param>
    /// <param name="keyBegin">As in forward.</param>
    /// <exception cref="ArgumentException">As of <see cref="Forward"/>.</exception>
    public static void Backward(
        DeviceStream stream, TensorView dq, TensorView dk, TensorView dv, TensorView dout, TensorView q, TensorView k, TensorView v, TensorView o,
        TensorView lse, AttentionShape shape, Workspace workspace, TensorView keyBegin = default)
    {
        const string Op = "Attention.Backward";
        DType dtype = CheckInputs(stream, q, k, v, keyBegin, shape, Op);
        Check.In(stream, o, dtype, q.Rows, q.Columns, Op);
        Check.In(stream, dout, dtype, q.Rows, q.Columns, Op);
        Check.Flat(stream, lse, DType.F32, q.Rows * shape.Heads, written: false, Op);
        Check.Out(stream, dq, dtype, q.Rows, q.Columns, Op);
        Check.Out(stream, dk, dtype, k.Rows, k.Columns, Op);
        Check.Out(stream, dv, dtype, v.Rows, v.Columns, Op);
        AttentionParams p = Params(dtype, q, k, v, o, shape);
        (p.DqRowStride, p.DkRowStride, p.DvRowStride, p.DoRowStride) = (dq.RowStride, dk.RowStride, dv.RowStride, dout.RowStride);
        long bytes = WorkspaceBytes(stream.Device, p, backward: true);
        nint scratch = workspace.Reserve(stream, bytes, Op);
        fixed (byte* pdq = dq, pdk = dk, pdv = dv, pdout = dout, pq = q, pk = k, pv = v, po = o, plse = lse, pbegin = keyBegin)
        {
            NativeMethods.ftc_attention_backward(
                stream.Handle, (nint)pdq, (nint)pdk, (nint)pdv, (nint)pdout, (nint)pq, (nint)pk, (nint)pv, (nint)po, (nint)plse, (nint)pbegin, in p,
                scratch, bytes).ThrowIfFailed();
        }
    }

    private static DType CheckInputs(
        DeviceStream stream, in TensorView q, in TensorView k, in TensorView v, in TensorView keyBegin, AttentionShape shape, string op)
    {
        DType dtype = Check.Activations(q, op);
        if (shape.KeyValueHeads < 1 || shape.Heads % shape.KeyValueHeads != 0)
            throw Check.Wrong(op, nameof(shape), $"has {shape.Heads} heads, expected a multiple of its key-value heads ({shape.KeyValueHeads})");
        Check.In(stream, q, dtype, q.Rows, (long)shape.Heads * shape.HeadDim, op);
        Check.In(stream, k, dtype, k.Rows, (long)shape.KeyValueHeads * shape.HeadDim, op);
        Check.In(stream, v, dtype, k.Rows, k.Columns, op);
        if (!keyBegin.IsNone) Check.Flat(stream, keyBegin, DType.I32, q.Rows, written: false, op);
        if (shape.FirstQuery < 0 || shape.FirstQuery + q.Rows > k.Rows)
            throw Check.Wrong(op, nameof(shape), $"puts query 0 at key {shape.FirstQuery}, so that {q.Rows} queries end past the {k.Rows} keys");
        return dtype;
    }

    private static AttentionParams Params(DType dtype, in TensorView q, in TensorView k, in TensorView v, in TensorView o, AttentionShape shape) => new()
    {
        StructSize = (uint)sizeof(AttentionParams), Dtype = (int)dtype, QueryRows = q.Rows, KeyRows = k.Rows, FirstQuery = shape.FirstQuery,
        Heads = shape.Heads, KeyValueHeads = shape.KeyValueHeads, HeadDim = shape.HeadDim, Scale = shape.Scale, QRowStride = q.RowStride,
        KRowStride = k.RowStride, VRowStride = v.RowStride, ORowStride = o.RowStride,
    };

    private static long WorkspaceBytes(Device device, in AttentionParams p, bool backward)
    {
        NativeMethods.ftc_attention_workspace_bytes(device.Handle, in p, backward ? 1 : 0, out long bytes).ThrowIfFailed();
        return bytes;
    }
}
