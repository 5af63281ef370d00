using FineTuneCore.Tensors;

namespace FineTuneCore.Backends;

/// <summary>Formats of a weight matrix, numbered as in <c>ftc.h</c>.</summary>
internal enum WeightFormat
{
    F32 = 0,
    BF16 = 1,
    Nf4 = 2,
    Int8 = 3,
    Affine = 4,
}

/// <summary>
/// A weight [Rows = out-features, Columns = in-features] in one of the formats every linear layer understands. NF4 lies as
/// bitsandbytes stores it: blocks of 64 over the flattened matrix, optionally with double-quantised absmax. Int8 has a scale for every row;
/// affine has 4, 3 or 2 bits with a scale and a minimum for every group of a row, the base of QA-LoRA.
/// </summary>
internal sealed record WeightMatrix
{
    internal required WeightFormat Format { get; init; }

    internal required long Rows { get; init; }

    internal required long Columns { get; init; }

    /// <summary>F32, BF16: [Rows, Columns]. Others: the packed codes as bytes.</summary>
    internal required Tensor Data { get; init; }

    /// <summary>F32, BF16: columns behind every row and rows below the last that a linear layer may overwrite; 0 = none.</summary>
    internal int Border { get; init; }

    /// <summary>NF4: fp32, or uint8 when nested.</summary>
    internal Tensor Absmax { get; init; }

    internal Tensor NestedAbsmax { get; init; }

    internal Tensor NestedMap { get; init; }

    internal Tensor QuantMap { get; init; }

    internal float NestedOffset { get; init; }

    internal int BlockSize { get; init; }

    internal int NestedBlockSize { get; init; }

    /// <summary>Affine: 4, 3 or 2.</summary>
    internal int Bits { get; init; }

    /// <summary>Affine: 32, 64 or 128 columns.</summary>
    internal int GroupSize { get; init; }

    /// <summary>Int8: [1, Rows] fp32. Affine: [1, Rows · Columns / GroupSize].</summary>
    internal Tensor Scale { get; init; }

    /// <summary>Affine: as <see cref="Scale"/>.</summary>
    internal Tensor Minimum { get; init; }

    /// <summary>The same matrix with its parts elsewhere.</summary>
    internal WeightMatrix WithMemory(Func<Tensor, Tensor> moved) =>
        this with
        {
            Data = moved(Data), Absmax = moved(Absmax), NestedAbsmax = moved(NestedAbsmax), Scale = moved(Scale), Minimum = moved(Minimum),
        };

    /// <summary>Bytes this matrix keeps in memory, shared maps left out.</summary>
    internal long ByteCount => Format switch
    {
        WeightFormat.F32 => Rows * Columns * 4,
        WeightFormat.BF16 => Rows * Columns * 2,
        WeightFormat.Int8 => Rows * Columns + Rows * 4,
        WeightFormat.Affine => Rows * Columns / 8 * Bits + Rows * Columns / GroupSize * 8,
        _ => Data.Columns + Absmax.Columns * Absmax.DType.Size() + (NestedAbsmax.IsNone ? 0 : NestedAbsmax.Columns * 4),
    };
}
