using FineTuneCore.Native;

namespace FineTuneCore.Kernels;

/// <summary>
/// A weight [out-features, in-features] of a linear layer in one of the formats that every kernel multiplies as they are: nothing is dequantised into
/// a matrix beside it.
/// </summary>
public readonly unsafe ref struct LinearWeight
{
    private const int F32 = 0, BF16 = 1, Nf4Format = 2, Int8Format = 3, AffineFormat = 4; // FTC_WEIGHT_*

    private readonly TensorView _data, _absmax, _nestedAbsmax, _nestedMap, _quantMap, _scale, _minimum;
    private readonly float _nestedOffset;
    private readonly int _bits;

    private LinearWeight(
        int format, long rows, long columns, TensorView data, TensorView absmax = default, TensorView nestedAbsmax = default, TensorView nestedMap = default,
        TensorView quantMap = default, float nestedOffset = 0, TensorView scale = default, TensorView minimum = default, int bits = 0, int groupSize = 0)
    {
        (Format, Rows, Columns, _nestedOffset, _bits, GroupSize) = (format, rows, columns, nestedOffset, bits, groupSize);
        _data = data;
        _absmax = absmax;
        _nestedAbsmax = nestedAbsmax;
        _nestedMap = nestedMap;
        _quantMap = quantMap;
        _scale = scale;
        _minimum = minimum;
    }

    /// <summary>Out-features N.</summary>
    public long Rows { get; }

    /// <summary>In-features K.</summary>
    public long Columns { get; }

    /// <summary>Columns that share a scale; 0 where the format has no groups.</summary>
    public int GroupSize { get; }

    internal int Format { get; }

    /// <summary>Plain F32 or BF16.</summary>
    /// <param name="weight">[out-features, in-features].</param>
    public static LinearWeight Dense(TensorView weight) =>
        new(Check.Activations(weight, "LinearWeight.Dense") == DType.F32 ? F32 : BF16, weight.Rows, weight.Columns, weight);

    /// <summary>4-bit NormalFloat in blocks of 64, as bitsandbytes stores it. Dettmers et al. 2023, arXiv:2305.14314.</summary>
    /// <param name="codes">U8, ceil(rows · columns / 2) of them.</param>
    /// <param name="absmax">F32, ceil(rows · columns / 64) of them.</param>
    /// <param name="rows">Out-features.</param>
    /// <param name="columns">In-features.</param>
    /// <param name="quantMap">F32 [1, 16] in the device's memory; on the CPU it may be left out for <see cref="Nf4Tables.QuantMap"/>.</param>
    public static LinearWeight Nf4(TensorView codes, TensorView absmax, long rows, long columns, TensorView quantMap = default)
    {
        Count("LinearWeight.Nf4", nameof(codes), codes, DType.U8, (rows * columns + 1) / 2);
        Count("LinearWeight.Nf4", nameof(absmax), absmax, DType.F32, Ceiling(rows * columns, Nf4Tables.BlockSize));
        return new(Nf4Format, rows, columns, codes, absmax, quantMap: quantMap.IsNone ? Nf4Tables.QuantMap : quantMap);
    }

    /// <summary>The same with absmax quantised again, to 8 bits.</summary>
    /// <param name="codes">As of <see cref="Nf4(TensorView, TensorView, long, long, TensorView)"/>.</param>
    /// <param name="absmaxCodes">U8, ceil(rows · columns / 64) of them.</param>
    /// <param name="nestedAbsmax">F32, one for 256 of these.</param>
    /// <param name="nestedOffset">What was taken off absmax before.</param>
    /// <param name="rows">Out-features.</param>
    /// <param name="columns">In-features.</param>
    /// <param name="nestedMap">F32 [1, 256]; may be left out on the CPU for <see cref="Nf4Tables.NestedMap"/>.</param>
    /// <param name="quantMap">As above.</param>
    public static LinearWeight Nf4Nested(
        TensorView codes, TensorView absmaxCodes, TensorView nestedAbsmax, float nestedOffset, long rows, long columns, TensorView nestedMap = default,
        TensorView quantMap = default)
    {
        long blocks = Ceiling(rows * columns, Nf4Tables.BlockSize);
        Count("LinearWeight.Nf4Nested", nameof(codes), codes, DType.U8, (rows * columns + 1) / 2);
        Count("LinearWeight.Nf4Nested", nameof(absmaxCodes), absmaxCodes, DType.U8, blocks);
        Count("LinearWeight.Nf4Nested", nameof(nestedAbsmax), nestedAbsmax, DType.F32, Ceiling(blocks, Nf4Tables.NestedBlockSize));
        return new(
            Nf4Format, rows, columns, codes, absmaxCodes, nestedAbsmax, nestedMap.IsNone ? Nf4Tables.NestedMap : nestedMap,
            quantMap.IsNone ? Nf4Tables.QuantMap : quantMap, nestedOffset);
    }

    /// <summary>Groups of a row in 4, 3 or 2 bits with a scale and a minimum each: the base of QA-LoRA. Xu et al. 2024, arXiv:2309.14717.</summary>
    /// <param name="codes">U8, rows · columns · bits / 8 of them.</param>
    /// <param name="scale">F32, rows · columns / groupSize of them.</param>
    /// <param name="minimum">As <paramref name="scale"/>.</param>
    /// <param name="rows">Out-features.</param>
    /// <param name="columns">In-features, a multiple of the group size.</param>
    /// <param name="bits">4, 3 or 2.</param>
    /// <param name="groupSize">32, 64 or 128.</param>
    public static LinearWeight Affine(TensorView codes, TensorView scale, TensorView minimum, long rows, long columns, int bits, int groupSize)
    {
        AffineGroups.CheckGroups("LinearWeight.Affine", columns, bits, groupSize);
        Count("LinearWeight.Affine", nameof(codes), codes, DType.U8, rows * columns / 8 * bits);
        Count("LinearWeight.Affine", nameof(scale), scale, DType.F32, rows * columns / groupSize);
        Count("LinearWeight.Affine", nameof(minimum), minimum, DType.F32, rows * columns / groupSize);
        return new(AffineFormat, rows, columns, codes, scale: scale, minimum: minimum, bits: bits, groupSize: groupSize);
    }

    /// <summary>8 bits with a scale for every row, as LLM.int8(). Dettmers et al. 2022, arXiv:2208.07339.</summary>
    /// <param name="codes">I8 [out-features, in-features], contiguous.</param>
    /// <param name="scale">F32, one for every row.</param>
    public static LinearWeight Int8(TensorView codes, TensorView scale)
    {
        Count("LinearWeight.Int8", nameof(codes), codes, DType.I8, codes.Rows * codes.Columns);
        Count("LinearWeight.Int8", nameof(scale), scale, DType.F32, codes.Rows);
        return new(Int8Format, codes.Rows, codes.Columns, codes, scale: scale);
    }

    /// <summary>What the native call reads; the memory must be held in place while it does.</summary>
    internal Weight Native(
        byte* data, byte* absmax, byte* nestedAbsmax, byte* nestedMap, byte* quantMap, byte* scale, byte* minimum) => new()
        {
            StructSize = (uint)sizeof(Weight), Format = Format, Rows = Rows, Cols = Columns, RowStride = _data.RowStride, Data = (nint)data,
            Absmax = (nint)absmax, NestedAbsmax = (nint)nestedAbsmax, NestedMap = (nint)nestedMap, QuantMap = (nint)quantMap,
            NestedOffset = _nestedOffset, BlockSize = Nf4Tables.BlockSize, NestedBlockSize = Nf4Tables.NestedBlockSize, Bits = _bits,
            GroupSize = GroupSize, Scale = (nint)scale, Minimum = (nint)minimum,
        };

    internal TensorView Data => _data;

    internal TensorView Absmax => _absmax;

    internal TensorView NestedAbsmax => _nestedAbsmax;

    internal TensorView NestedMap => _nestedMap;

    internal TensorView QuantMap => _quantMap;

    internal TensorView Scale => _scale;

    internal TensorView Minimum => _minimum;

    internal void CheckReadable(DeviceStream stream, string op)
    {
        Check.Readable(stream, _data, op, "weight");
        Check.Readable(stream, _absmax, op, "absmax of weight");
        Check.Readable(stream, _nestedAbsmax, op, "nestedAbsmax of weight");
        Check.Readable(stream, _nestedMap, op, "nestedMap of weight");
        Check.Readable(stream, _quantMap, op, "quantMap of weight");
        Check.Readable(stream, _scale, op, "scale of weight");
        Check.Readable(stream, _minimum, op, "minimum of weight");
    }

    private static long Ceiling(long count, long size) => (count + size - 1) / size;

    private static void Count(string op, string name, in TensorView view, DType dtype, long count)
    {
        if (view.IsNone || view.DType != dtype || view.Rows * view.Columns != count || !view.IsContiguous)
            throw Check.Wrong(op, name, $"is {view.ToString()}, expected {count} contiguous elements of {dtype}");
    }
}
