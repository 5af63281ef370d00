using FineTuneCore.Native;

namespace FineTuneCore.Kernels;

/// <summary>Quantisation in groups of a row with a scale and a minimum, and the merging of QA-LoRA into it. Xu et al. 2024, arXiv:2309.14717.</summary>
public static unsafe class AffineGroups
{
    /// <summary>value = scale · code + minimum, for every group of a row.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="codes">Out, U8, rows · columns · bits / 8 of them, lowest bits first.</param>
    /// <param name="scale">Out, F32, rows · columns / groupSize of them.</param>
    /// <param name="minimum">Out, as <paramref name="scale"/>.</param>
    /// <param name="x">F32 [rows, columns].</param>
    /// <param name="bits">4, 3 or 2.</param>
    /// <param name="groupSize">32, 64 or 128; the columns are a multiple of it.</param>
    /// <param name="search">Whether narrower ranges are tried and the one with the smallest squared error taken.</param>
    /// <exception cref="ArgumentException">A tensor has another size or type, or lies in the wrong memory; the message names it.</exception>
    public static void Quantize(
        DeviceStream stream, TensorView codes, TensorView scale, TensorView minimum, TensorView x, int bits, int groupSize, bool search = false)
    {
        const string Op = "AffineGroups.Quantize";
        CheckGroups(Op, x.Columns, bits, groupSize);
        Check.In(stream, x, DType.F32, x.Rows, x.Columns, Op);
        Check.Flat(stream, codes, DType.U8, x.Rows * x.Columns / 8 * bits, written: true, Op);
        Check.Flat(stream, scale, DType.F32, x.Rows * x.Columns / groupSize, written: true, Op);
        Check.Flat(stream, minimum, DType.F32, x.Rows * x.Columns / groupSize, written: true, Op);
        var p = new AffineQuantizeParams
        {
            StructSize = (uint)sizeof(AffineQuantizeParams), Bits = bits, Rows = x.Rows, Cols = x.Columns, XRowStride = x.RowStride, GroupSize = groupSize,
            Search = search ? 1 : 0,
        };
        fixed (byte* pcodes = codes, pscale = scale, pminimum = minimum, px = x)
            NativeMethods.ftc_affine_quantize(stream.Handle, (nint)pcodes, (nint)pscale, (nint)pminimum, (nint)px, in p).ThrowIfFailed();
    }

    /// <summary>
    /// Takes a QA-LoRA adapter into the minima of the weight it was trained on: minimum += scaling / groupSize · B A. Codes and scales stay, so the
    /// merged weight is the adapted one, but for the rounding of the minima.
    /// </summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="minimum">In and out, F32, out-features · groups of them.</param>
    /// <param name="b">F32 [out-features, rank], contiguous.</param>
    /// <param name="a">F32 [rank, groups], contiguous.</param>
    /// <param name="groupSize">Of the weight, and the adapter's <see cref="LoraAdapter.Pool"/>.</param>
    /// <param name="scaling">Of the adapter.</param>
    /// <exception cref="ArgumentException">As of <see cref="Quantize"/>.</exception>
    public static void Merge(DeviceStream stream, TensorView minimum, TensorView b, TensorView a, int groupSize, float scaling)
    {
        const string Op = "AffineGroups.Merge";
        Check.Flat(stream, minimum, DType.F32, b.Rows * a.Columns, written: true, Op);
        Check.Flat(stream, a, DType.F32, a.Rows * a.Columns, written: false, Op);
        Check.In(stream, b, DType.F32, b.Rows, a.Rows, Op);
        Check.Flat(stream, b, DType.F32, b.Rows * b.Columns, written: false, Op);
        fixed (byte* pminimum = minimum, pb = b, pa = a)
        {
            NativeMethods.ftc_affine_merge(
                stream.Handle, (nint)pminimum, (nint)pb, (nint)pa, b.Rows, a.Columns, (int)a.Rows, groupSize, scaling).ThrowIfFailed();
        }
    }

    internal static void CheckGroups(string op, long columns, int bits, int groupSize)
    {
        if (bits is not (2 or 3 or 4)) throw Check.Wrong(op, nameof(bits), $"is {bits}, expected 4, 3 or 2");
        if (groupSize is not (32 or 64 or 128)) throw Check.Wrong(op, nameof(groupSize), $"is {groupSize}, expected 32, 64 or 128");
        if (columns % groupSize != 0) throw Check.Wrong(op, nameof(groupSize), $"is {groupSize}, of which {columns} columns are no multiple");
    }
}
