using FineTuneCore.Native;

namespace FineTuneCore.Kernels;

/// <summary>
/// Rotary positions, in place: the two halves of a head's first features turn together by the angle of their row's position. Su et al. 2021,
/// arXiv:2104.09864. Scaled variants differ in the tables alone.
/// </summary>
public static unsafe class Rope
{
    /// <summary>Turns forward.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="x">In and out [rows, heads · head dim], F32 or BF16.</param>
    /// <param name="positions">I32 [1, rows], below the rows of the tables.</param>
    /// <param name="cos">F32 [positions, features / 2]: as many features of a head are turned; contiguous.</param>
    /// <param name="sin">As <paramref name="cos"/>.</param>
    /// <param name="headDim">Features of a head.</param>
    /// <exception cref="ArgumentException">A tensor has another shape or type, or lies in the wrong memory; the message names it.</exception>
    public static void Forward(DeviceStream stream, TensorView x, TensorView positions, TensorView cos, TensorView sin, int headDim)
    {
        RopeParams p = Params(stream, x, positions, cos, sin, headDim, "Rope.Forward");
        fixed (byte* px = x, ppositions = positions, pcos = cos, psin = sin)
            NativeMethods.ftc_rope_forward(stream.Handle, (nint)px, (nint)ppositions, (nint)pcos, (nint)psin, in p).ThrowIfFailed();
    }

    /// <summary>Turns back: the gradient of <see cref="Forward"/>.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="dx">In and out [rows, heads · head dim].</param>
    /// <param name="positions">As in forward.</param>
    /// <param name="cos">As in forward.</param>
    /// <param name="sin">As in forward.</param>
    /// <param name="headDim">Features of a head.</param>
    /// <exception cref="ArgumentException">As of <see cref="Forward"/>.</exception>
    public static void Backward(DeviceStream stream, TensorView dx, TensorView positions, TensorView cos, TensorView sin, int headDim)
    {
        RopeParams p = Params(stream, dx, positions, cos, sin, headDim, "Rope.Backward");
        fixed (byte* pdx = dx, ppositions = positions, pcos = cos, psin = sin)
            NativeMethods.ftc_rope_backward(stream.Handle, (nint)pdx, (nint)ppositions, (nint)pcos, (nint)psin, in p).ThrowIfFailed();
    }

    private static RopeParams Params(
        DeviceStream stream, in TensorView x, in TensorView positions, in TensorView cos, in TensorView sin, int headDim, string op)
    {
        DType dtype = Check.Activations(x, op);
        if (headDim < 1 || x.Columns % headDim != 0) throw Check.Wrong(op, nameof(headDim), $"is {headDim}, of which {x.Columns}, the columns, are no multiple");
        if (2 * cos.Columns > headDim) throw Check.Wrong(op, nameof(cos), $"is {cos.ToString()}, expected at most {headDim / 2} columns, half of a head");
        Check.Out(stream, x, dtype, x.Rows, x.Columns, op);
        Check.Flat(stream, positions, DType.I32, x.Rows, written: false, op);
        Check.Flat(stream, cos, DType.F32, cos.Rows * cos.Columns, written: false, op);
        Check.In(stream, sin, DType.F32, cos.Rows, cos.Columns, op);
        Check.Flat(stream, sin, DType.F32, cos.Rows * cos.Columns, written: false, op);
        return new RopeParams
        {
            StructSize = (uint)sizeof(RopeParams), Dtype = (int)dtype, Rows = x.Rows, Heads = x.Columns / headDim, HeadDim = headDim,
            RopeDim = 2 * cos.Columns, RowStride = x.RowStride, TableRows = cos.Rows,
        };
    }
}
