using FineTuneCore.Native;

namespace FineTuneCore.Kernels;

/// <summary>y = t / √(mean(t²) + eps) · weight with t = x + residual, per row and head. Zhang &amp; Sennrich 2019, arXiv:1910.07467.</summary>
public static unsafe class RmsNorm
{
    /// <summary>Normalises rows, or heads side by side in a row, each for itself.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="y">Out [rows, heads · hidden size]; may be <paramref name="x"/>.</param>
    /// <param name="x">[rows, heads · hidden size], F32 or BF16.</param>
    /// <param name="weight">F32 [1, hidden size].</param>
    /// <param name="eps">Added to the mean of squares.</param>
    /// <param name="rstd">Out, F32 [rows, heads], for backward; none when not training.</param>
    /// <param name="residual">As <paramref name="x"/>, or none.</param>
    /// <param name="sum">Out: x + residual, with x's row stride; may be either. With a residual only.</param>
    /// <exception cref="ArgumentException">A tensor has another shape or type, or lies in the wrong memory; the message names it.</exception>
    public static void Forward(
        DeviceStream stream, TensorView y, TensorView x, TensorView weight, float eps, TensorView rstd = default, TensorView residual = default,
        TensorView sum = default)
    {
        const string Op = "RmsNorm.Forward";
        DType dtype = Check.Activations(x, Op);
        long heads = Heads(x, weight, Op);
        Check.In(stream, x, dtype, x.Rows, x.Columns, Op);
        Check.Out(stream, y, dtype, x.Rows, x.Columns, Op);
        Check.In(stream, weight, DType.F32, 1, weight.Columns, Op);
        Check.InOrNone(stream, residual, dtype, x.Rows, x.Columns, Op);
        if (!rstd.IsNone) Check.Flat(stream, rstd, DType.F32, x.Rows * heads, written: true, Op);
        if (residual.IsNone != sum.IsNone) throw Check.Wrong(Op, nameof(sum), "and residual go together: both, or neither");
        if (!sum.IsNone)
        {
            Check.Out(stream, sum, dtype, x.Rows, x.Columns, Op);
            Check.SameStride(x, sum, Op, "x and sum");
        }

        var p = new RmsNormParams
        {
            StructSize = (uint)sizeof(RmsNormParams), Dtype = (int)dtype, Rows = x.Rows, Heads = heads, HiddenSize = weight.Columns, XRowStride = x.RowStride,
            YRowStride = y.RowStride, ResidualRowStride = residual.RowStride, Eps = eps,
        };
        fixed (byte* py = y, psum = sum, prstd = rstd, px = x, presidual = residual, pweight = weight)
        {
            NativeMethods.ftc_rms_norm_forward(
                stream.Handle, (nint)py, (nint)psum, (nint)prstd, (nint)px, (nint)presidual, (nint)pweight, in p).ThrowIfFailed();
        }
    }

    /// <summary>dx = ∂y/∂t · dy + dsum.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="dx">Out; may be <paramref name="dy"/> or <paramref name="dsum"/>.</param>
    /// <param name="dy">[rows, heads · hidden size].</param>
    /// <param name="x">t of forward.</param>
    /// <param name="rstd">As forward left it.</param>
    /// <param name="weight">F32 [1, hidden size].</param>
    /// <param name="eps">As in forward.</param>
    /// <param name="dweight">F32 [1, hidden size], added to; none when the weight is frozen.</param>
    /// <param name="dsum">Gradient that reaches t past the norm, or none.</param>
    /// <exception cref="ArgumentException">As of <see cref="Forward"/>.</exception>
    public static void Backward(
        DeviceStream stream, TensorView dx, TensorView dy, TensorView x, TensorView rstd, TensorView weight, float eps, TensorView dweight = default,
        TensorView dsum = default)
    {
        const string Op = "RmsNorm.Backward";
        DType dtype = Check.Activations(x, Op);
        long heads = Heads(x, weight, Op);
        Check.In(stream, x, dtype, x.Rows, x.Columns, Op);
        Check.In(stream, dy, dtype, x.Rows, x.Columns, Op);
        Check.Out(stream, dx, dtype, x.Rows, x.Columns, Op);
        Check.InOrNone(stream, dsum, dtype, x.Rows, x.Columns, Op);
        Check.In(stream, weight, DType.F32, 1, weight.Columns, Op);
        Check.OutOrNone(stream, dweight, DType.F32, 1, weight.Columns, Op);
        Check.Flat(stream, rstd, DType.F32, x.Rows * heads, written: false, Op);
        var p = new RmsNormParams
        {
            StructSize = (uint)sizeof(RmsNormParams), Dtype = (int)dtype, Rows = x.Rows, Heads = heads, HiddenSize = weight.Columns, XRowStride = x.RowStride,
            YRowStride = dy.RowStride, ResidualRowStride = dsum.RowStride, DxRowStride = dx.RowStride, Eps = eps,
        };
        fixed (byte* pdx = dx, pdweight = dweight, pdy = dy, pdsum = dsum, px = x, prstd = rstd, pweight = weight)
        {
            NativeMethods.ftc_rms_norm_backward(
                stream.Handle, (nint)pdx, (nint)pdweight, (nint)pdy, (nint)pdsum, (nint)px, (nint)prstd, (nint)pweight, in p).ThrowIfFailed();
        }
    }

    private static long Heads(in TensorView x, in TensorView weight, string op)
    {
        if (weight.Columns == 0 || x.Columns % weight.Columns != 0)
            throw Check.Wrong(op, nameof(weight), $"is {weight.ToString()}, expected a row of which {x.Columns}, x's columns, are a multiple");
        return x.Columns / weight.Columns;
    }
}
