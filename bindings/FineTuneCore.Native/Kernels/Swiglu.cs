using FineTuneCore.Native;

namespace FineTuneCore.Kernels;

/// <summary>y = silu(gate) · up. Shazeer 2020, arXiv:2002.05202.</summary>
public static unsafe class Swiglu
{
    /// <summary>Multiplies.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="y">Out [rows, intermediate size].</param>
    /// <param name="gate">As <paramref name="y"/>, F32 or BF16.</param>
    /// <param name="up">As <paramref name="gate"/>, with its row stride: two column blocks of one buffer, or two buffers.</param>
    /// <exception cref="ArgumentException">A tensor has another shape or type, or lies in the wrong memory; the message names it.</exception>
    public static void Forward(DeviceStream stream, TensorView y, TensorView gate, TensorView up)
    {
        const string Op = "Swiglu.Forward";
        DType dtype = CheckInputs(stream, gate, up, Op);
        Check.Out(stream, y, dtype, gate.Rows, gate.Columns, Op);
        var p = new SwigluParams
        {
            StructSize = (uint)sizeof(SwigluParams), Dtype = (int)dtype, Rows = gate.Rows, Cols = gate.Columns, GateRowStride = gate.RowStride,
            YRowStride = y.RowStride,
        };
        fixed (byte* py = y, pgate = gate, pup = up)
            NativeMethods.ftc_swiglu_forward(stream.Handle, (nint)py, (nint)pgate, (nint)pup, in p).ThrowIfFailed();
    }

    /// <summary>Gradients of gate and up.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="dgate">Out; may be <paramref name="gate"/>.</param>
    /// <param name="dup">Out, with dgate's row stride; may be <paramref name="up"/>.</param>
    /// <param name="dy">[rows, intermediate size].</param>
    /// <param name="gate">As in forward.</param>
    /// <param name="up">As in forward.</param>
    /// <exception cref="ArgumentException">As of <see cref="Forward"/>.</exception>
    public static void Backward(DeviceStream stream, TensorView dgate, TensorView dup, TensorView dy, TensorView gate, TensorView up)
    {
        const string Op = "Swiglu.Backward";
        DType dtype = CheckInputs(stream, gate, up, Op);
        Check.In(stream, dy, dtype, gate.Rows, gate.Columns, Op);
        Check.Out(stream, dgate, dtype, gate.Rows, gate.Columns, Op);
        Check.Out(stream, dup, dtype, gate.Rows, gate.Columns, Op);
        Check.SameStride(dgate, dup, Op, "dgate and dup");
        var p = new SwigluParams
        {
            StructSize = (uint)sizeof(SwigluParams), Dtype = (int)dtype, Rows = gate.Rows, Cols = gate.Columns, GateRowStride = gate.RowStride,
            YRowStride = dy.RowStride, DgateRowStride = dgate.RowStride,
        };
        fixed (byte* pdgate = dgate, pdup = dup, pdy = dy, pgate = gate, pup = up)
            NativeMethods.ftc_swiglu_backward(stream.Handle, (nint)pdgate, (nint)pdup, (nint)pdy, (nint)pgate, (nint)pup, in p).ThrowIfFailed();
    }

    private static DType CheckInputs(DeviceStream stream, in TensorView gate, in TensorView up, string op)
    {
        DType dtype = Check.Activations(gate, op);
        Check.In(stream, gate, dtype, gate.Rows, gate.Columns, op);
        Check.In(stream, up, dtype, gate.Rows, gate.Columns, op);
        Check.SameStride(gate, up, op, "gate and up");
        return dtype;
    }
}
