using FineTuneCore.Native;

namespace FineTuneCore.Kernels;

/// <summary>
/// The linear layer over any format of weight, with or without a LoRA adapter: Y = X Wᵀ + bias + scaling · drop(X) Aᵀ Bᵀ. Activations are F32 or
/// BF16, sums are F32, in a fixed order: the same bits on any number of threads.
/// </summary>
public static unsafe class Linear
{
    /// <summary>Y = X Wᵀ + bias + adapter.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="y">Out [M, N].</param>
    /// <param name="x">[M, K], of the type of <paramref name="y"/>.</param>
    /// <param name="weight">[N, K].</param>
    /// <param name="workspace">Of this stream.</param>
    /// <param name="adapter">None = a plain linear layer.</param>
    /// <param name="bias">F32 [1, N], or none.</param>
    /// <param name="accumulate">Whether Y is added to rather than written.</param>
    /// <exception cref="ArgumentException">A tensor has another shape or type, or lies in the wrong memory; the message names it.</exception>
    /// <exception cref="FtcException">The library refused.</exception>
    public static void Forward(
        DeviceStream stream, TensorView y, TensorView x, LinearWeight weight, Workspace workspace, LoraAdapter adapter = default,
        TensorView bias = default, bool accumulate = false)
    {
        const string Op = "Linear.Forward";
        DType dtype = Check.Activations(x, Op);
        Check.In(stream, x, dtype, x.Rows, weight.Columns, Op);
        Check.Out(stream, y, dtype, x.Rows, weight.Rows, Op);
        Check.InOrNone(stream, bias, DType.F32, 1, weight.Rows, Op);
        weight.CheckReadable(stream, Op);
        CheckAdapter(stream, adapter, weight, x.Rows, Op);
        LinearParams p = Params(dtype, x.Rows, adapter, accumulate);
        (p.XRowStride, p.YRowStride) = (x.RowStride, y.RowStride);
        long bytes = WorkspaceBytes(stream.Device, dtype, weight, x.Rows, adapter.A.Rows);
        nint scratch = workspace.Reserve(stream, bytes, Op);
        fixed (byte* py = y, px = x, pbias = bias)
        fixed (byte* w0 = weight.Data, w1 = weight.Absmax, w2 = weight.NestedAbsmax, w3 = weight.NestedMap, w4 = weight.QuantMap, w5 = weight.Scale, w6 = weight.Minimum)
        fixed (byte* a = adapter.A, b = adapter.B, s = adapter.S, samples = adapter.DropoutSamples, positions = adapter.DropoutPositions)
        {
            Weight native = weight.Native(w0, w1, w2, w3, w4, w5, w6);
            LoraSegment segment = Segment(adapter, x.Rows, a, b, s, null, null);
            (p.DropoutSamples, p.DropoutPositions) = ((nint)samples, (nint)positions);
            NativeMethods.ftc_linear_forward(
                stream.Handle, (nint)py, (nint)px, in native, (nint)pbias, &segment, adapter.IsNone ? 0 : 1, in p, scratch, bytes).ThrowIfFailed();
        }
    }

    /// <summary>
    /// dX = dY W + adapter's part; dA, dB, dW and dbias are added to where they are given. <see cref="LoraAdapter.S"/> is as forward left it.
    /// </summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="dx">Out [M, K], or none.</param>
    /// <param name="dy">[M, N].</param>
    /// <param name="x">[M, K]; may be none where neither dA nor dW is wanted.</param>
    /// <param name="weight">[N, K].</param>
    /// <param name="workspace">Of this stream.</param>
    /// <param name="adapter">As in forward, with the gradients that are wanted.</param>
    /// <param name="dweight">F32 [N, K], added to; none when the weight is frozen.</param>
    /// <param name="dbias">F32 [1, N], added to; none when the bias is frozen.</param>
    /// <param name="accumulate">Whether dX is added to rather than written.</param>
    /// <inheritdoc cref="Forward"/>
    public static void Backward(
        DeviceStream stream, TensorView dx, TensorView dy, TensorView x, LinearWeight weight, Workspace workspace, LoraAdapter adapter = default,
        TensorView dweight = default, TensorView dbias = default, bool accumulate = false)
    {
        const string Op = "Linear.Backward";
        DType dtype = Check.Activations(dy, Op);
        Check.In(stream, dy, dtype, dy.Rows, weight.Rows, Op);
        Check.OutOrNone(stream, dx, dtype, dy.Rows, weight.Columns, Op);
        Check.InOrNone(stream, x, dtype, dy.Rows, weight.Columns, Op);
        Check.OutOrNone(stream, dweight, DType.F32, weight.Rows, weight.Columns, Op);
        Check.OutOrNone(stream, dbias, DType.F32, 1, weight.Rows, Op);
        if (x.IsNone && !(adapter.Da.IsNone && dweight.IsNone)) throw Check.Wrong(Op, nameof(x), "is none, expected the input of forward: dA and dweight are made of it");
        weight.CheckReadable(stream, Op);
        CheckAdapter(stream, adapter, weight, dy.Rows, Op);
        LinearParams p = Params(dtype, dy.Rows, adapter, accumulate);
        (p.XRowStride, p.DyRowStride, p.DxRowStride, p.DweightRowStride) = (x.RowStride, dy.RowStride, dx.RowStride, dweight.RowStride);
        long bytes = WorkspaceBytes(stream.Device, dtype, weight, dy.Rows, adapter.A.Rows);
        nint scratch = workspace.Reserve(stream, bytes, Op);
        fixed (byte* pdx = dx, pdy = dy, px = x, pdweight = dweight, pdbias = dbias)
        fixed (byte* w0 = weight.Data, w1 = weight.Absmax, w2 = weight.NestedAbsmax, w3 = weight.NestedMap, w4 = weight.QuantMap, w5 = weight.Scale, w6 = weight.Minimum)
        fixed (byte* a = adapter.A, b = adapter.B, s = adapter.S, da = adapter.Da, db = adapter.Db, samples = adapter.DropoutSamples, positions = adapter.DropoutPositions)
        {
            Weight native = weight.Native(w0, w1, w2, w3, w4, w5, w6);
            LoraSegment segment = Segment(adapter, dy.Rows, a, b, s, da, db);
            (p.DropoutSamples, p.DropoutPositions) = ((nint)samples, (nint)positions);
            NativeMethods.ftc_linear_backward(
                stream.Handle, (nint)pdx, (nint)pdweight, (nint)pdbias, (nint)pdy, (nint)px, in native, &segment, adapter.IsNone ? 0 : 1, in p, scratch,
                bytes).ThrowIfFailed();
        }
    }

    /// <summary>Rows [rowBegin, rowBegin + Y's rows) of a weight as F32 or BF16.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="y">Out [rows, K].</param>
    /// <param name="weight">[N, K].</param>
    /// <param name="rowBegin">First row.</param>
    /// <exception cref="ArgumentException">As of <see cref="Forward"/>.</exception>
    public static void Dequantize(DeviceStream stream, TensorView y, LinearWeight weight, long rowBegin = 0)
    {
        const string Op = "Linear.Dequantize";
        Check.Out(stream, y, Check.Activations(y, Op), y.Rows, weight.Columns, Op);
        weight.CheckReadable(stream, Op);
        if (rowBegin < 0 || rowBegin > weight.Rows - y.Rows) throw Check.Wrong(Op, nameof(y), $"takes rows [{rowBegin}, {rowBegin + y.Rows}) of a weight of {weight.Rows}");
        fixed (byte* py = y)
        fixed (byte* w0 = weight.Data, w1 = weight.Absmax, w2 = weight.NestedAbsmax, w3 = weight.NestedMap, w4 = weight.QuantMap, w5 = weight.Scale, w6 = weight.Minimum)
        {
            Weight native = weight.Native(w0, w1, w2, w3, w4, w5, w6);
            NativeMethods.ftc_weight_dequantize(stream.Handle, (nint)py, (int)y.DType, y.RowStride, in native, rowBegin, y.Rows).ThrowIfFailed();
        }
    }

    private static void CheckAdapter(DeviceStream stream, in LoraAdapter adapter, in LinearWeight weight, long rows, string op)
    {
        if (adapter.IsNone) return;
        if (adapter.Pool is not (0 or 32 or 64 or 128)) throw Check.Wrong(op, "Pool of adapter", $"is {adapter.Pool}, expected 0, 32, 64 or 128");
        long rank = adapter.A.Rows, features = adapter.Pool == 0 ? weight.Columns : weight.Columns / adapter.Pool;
        Check.Flat(stream, adapter.A, DType.F32, rank * features, written: false, op, "A of adapter");
        Check.Flat(stream, adapter.B, DType.F32, weight.Rows * rank, written: false, op, "B of adapter");
        Check.Flat(stream, adapter.S, DType.F32, rows * rank, written: true, op, "S of adapter");
        if (!adapter.Da.IsNone) Check.Flat(stream, adapter.Da, DType.F32, rank * features, written: true, op, "Da of adapter");
        if (!adapter.Db.IsNone) Check.Flat(stream, adapter.Db, DType.F32, weight.Rows * rank, written: true, op, "Db of adapter");
        if (adapter.DropoutProbability == 0) return;
        Check.Flat(stream, adapter.DropoutSamples, DType.I32, rows, written: false, op, "DropoutSamples of adapter");
        Check.Flat(stream, adapter.DropoutPositions, DType.I32, rows, written: false, op, "DropoutPositions of adapter");
    }

    private static LinearParams Params(DType dtype, long rows, in LoraAdapter adapter, bool accumulate) => new()
    {
        StructSize = (uint)sizeof(LinearParams), Dtype = (int)dtype, Rows = rows, Accumulate = accumulate ? 1 : 0, DropoutStep = adapter.DropoutStep,
    };

    private static LoraSegment Segment(in LoraAdapter adapter, long rows, byte* a, byte* b, byte* s, byte* da, byte* db) => new()
    {
        StructSize = (uint)sizeof(LoraSegment), Rank = (int)adapter.A.Rows, RowEnd = rows, A = (nint)a, B = (nint)b, S = (nint)s, Da = (nint)da,
        Db = (nint)db, Scaling = adapter.Scaling, DropoutProbability = adapter.DropoutProbability, DropoutSeed = adapter.DropoutSeed, Pool = adapter.Pool,
    };

    private static long WorkspaceBytes(Device device, DType dtype, in LinearWeight weight, long rows, long rank)
    {
        var p = new LinearWorkspaceParams
        {
            StructSize = (uint)sizeof(LinearWorkspaceParams), Dtype = (int)dtype, WeightFormat = weight.Format, Rows = rows, InFeatures = weight.Columns,
            OutFeatures = weight.Rows, Rank = rank,
        };
        NativeMethods.ftc_linear_workspace_bytes(device.Handle, in p, out long bytes).ThrowIfFailed();
        return bytes;
    }
}
