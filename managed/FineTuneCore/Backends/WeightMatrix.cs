using FineTuneCore.Tensors;

namespace FineTuneCore.Backends;

/// <summary>Formats of a weight matrix, numbered as in <c>ftc.h</c>.</summary>
internal enum WeightFormat
{
    F32 = 0,
    BF16 = 1,
    Nf4 = 2,
}

/// <summary>
/// A weight [Rows = out-features, Columns = in-features] in one of the formats every linear layer understands. NF4 lies as
/// bitsandbytes stores it: blocks of 64 over the flattened matrix, optionally with double-quantised absmax.
/// </summary>
internal sealed record WeightMatrix
{
    internal required WeightFormat Format { get; init; }

    internal required long Rows { get; init; }

    internal required long Columns { get; init; }

    /// <summary>F32, BF16: [Rows, Columns]. NF4: the packed codes as bytes.</summary>
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

    /// <summary>The same matrix with its parts elsewhere.</summary>
    internal WeightMatrix WithMemory(Func<Tensor, Tensor> moved) =>
        this with { Data = moved(Data), Absmax = moved(Absmax), NestedAbsmax = moved(NestedAbsmax) };

    /// <summary>Bytes this matrix keeps in memory, shared maps left out.</summary>
    internal long ByteCount => Format switch
    {
        WeightFormat.F32 => Rows * Columns * 4,
        WeightFormat.BF16 => Rows * Columns * 2,
        _ => Data.Columns + Absmax.Columns * Absmax.DType.Size() + (NestedAbsmax.IsNone ? 0 : NestedAbsmax.Columns * 4),
    };
}
