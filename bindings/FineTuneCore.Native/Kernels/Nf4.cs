using FineTuneCore.Native;

namespace FineTuneCore.Kernels;

/// <summary>Quantisation to 4-bit NormalFloat, bit-equal to bitsandbytes. Dettmers et al. 2023, arXiv:2305.14314.</summary>
public static unsafe class Nf4
{
    /// <summary>Codes of 64 elements at a time and the largest of them without sign.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="codes">Out, U8, ceil(elements / 2) of them, the even element in the high half.</param>
    /// <param name="absmax">Out, F32, ceil(elements / 64) of them.</param>
    /// <param name="x">F32, contiguous.</param>
    /// <exception cref="ArgumentException">A tensor has another size or type, or lies in the wrong memory; the message names it.</exception>
    public static void Quantize(DeviceStream stream, TensorView codes, TensorView absmax, TensorView x)
    {
        const string Op = "Nf4.Quantize";
        long count = x.Rows * x.Columns;
        Check.Flat(stream, x, DType.F32, count, written: false, Op);
        Check.Flat(stream, codes, DType.U8, (count + 1) / 2, written: true, Op);
        Check.Flat(stream, absmax, DType.F32, (count + Nf4Tables.BlockSize - 1) / Nf4Tables.BlockSize, written: true, Op);
        fixed (byte* pcodes = codes, pabsmax = absmax, px = x)
            NativeMethods.ftc_nf4_quantize(stream.Handle, (nint)pcodes, (nint)pabsmax, (nint)px, count).ThrowIfFailed();
    }

    /// <summary>Quantises absmax again, to 8 bits of what is left of it without its mean: double quantisation.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="codes">Out, U8, one for each absmax.</param>
    /// <param name="nestedAbsmax">Out, F32, one for 256 of them.</param>
    /// <param name="nestedOffset">Out, F32 [1, 1]: the mean.</param>
    /// <param name="absmax">F32, contiguous.</param>
    /// <param name="nestedMap">F32 [1, 256]; may be left out on the CPU for <see cref="Nf4Tables.NestedMap"/>.</param>
    /// <exception cref="ArgumentException">As of <see cref="Quantize"/>.</exception>
    public static void QuantizeAbsmax(
        DeviceStream stream, TensorView codes, TensorView nestedAbsmax, TensorView nestedOffset, TensorView absmax, TensorView nestedMap = default)
    {
        const string Op = "Nf4.QuantizeAbsmax";
        long count = absmax.Rows * absmax.Columns;
        TensorView map = nestedMap.IsNone ? Nf4Tables.NestedMap : nestedMap;
        Check.Flat(stream, absmax, DType.F32, count, written: false, Op);
        Check.Flat(stream, codes, DType.U8, count, written: true, Op);
        Check.Flat(stream, nestedAbsmax, DType.F32, (count + Nf4Tables.NestedBlockSize - 1) / Nf4Tables.NestedBlockSize, written: true, Op);
        Check.Flat(stream, nestedOffset, DType.F32, 1, written: true, Op);
        Check.Flat(stream, map, DType.F32, 256, written: false, Op, nameof(nestedMap));
        fixed (byte* pcodes = codes, pnested = nestedAbsmax, poffset = nestedOffset, pabsmax = absmax, pmap = map)
            NativeMethods.ftc_nf4_quantize_absmax(stream.Handle, (nint)pcodes, (nint)pnested, (nint)poffset, (nint)pabsmax, (nint)pmap, count).ThrowIfFailed();
    }
}
