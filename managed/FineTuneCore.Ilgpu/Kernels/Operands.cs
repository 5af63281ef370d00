using ILGPU;

namespace FineTuneCore.Ilgpu.Kernels;

/// <summary>
/// One side of a product C = Σ over depth of A(line, depth) · B(line, depth): lines of A are rows of C, lines of B its columns. Quantised weights are
/// decoded here, while a tile is filled.
/// </summary>
internal interface IOperand
{
    /// <summary>Entry i, below <see cref="MatmulKernels.TableSize"/>, of the table that a group keeps in shared memory; formats without one answer 0.</summary>
    float TableEntry(int i);

    float At(int line, int depth, ArrayView<float> table);
}

/// <summary>A plain matrix, lying either way.</summary>
internal struct Dense<T, TElement> : IOperand
    where T : unmanaged
    where TElement : struct, IElement<T>
{
    public ArrayView<T> Data;
    public long LineStride;
    public long DepthStride;

    public readonly float TableEntry(int i) => 0f;

    public readonly float At(int line, int depth, ArrayView<float> table) => default(TElement).Load(Data[line * LineStride + depth * DepthStride]);
}

/// <summary>Rows of a matrix by their numbers; a negative number is a row of zeros.</summary>
internal struct GatheredRows<T, TElement> : IOperand
    where T : unmanaged
    where TElement : struct, IElement<T>
{
    public ArrayView<T> Data;
    public ArrayView<int> Numbers;
    public long RowStride;
    public int RowsAreLines;

    public readonly float TableEntry(int i) => 0f;

    public readonly float At(int line, int depth, ArrayView<float> table)
    {
        int row = Numbers[RowsAreLines != 0 ? line : depth], feature = RowsAreLines != 0 ? depth : line;
        return row < 0 ? 0f : default(TElement).Load(Data[row * RowStride + feature]);
    }
}

/// <summary>drop(P(X)): what an adapter sees of X, with P the mean of every Pool neighbouring features (QA-LoRA) or, for a Pool of 1, X itself.</summary>
internal struct AdapterInput<T, TElement> : IOperand
    where T : unmanaged
    where TElement : struct, IElement<T>
{
    public ArrayView<T> Data;
    public long RowStride;
    public int RowsAreLines;
    public int Pool;
    public Dropout Dropout;

    public readonly float TableEntry(int i) => 0f;

    public readonly float At(int line, int depth, ArrayView<float> table)
    {
        int row = RowsAreLines != 0 ? line : depth, feature = RowsAreLines != 0 ? depth : line;
        if (!Dropout.Keeps(row, feature)) return 0f;
        float factor = 1f / Dropout.Keep;
        long at = row * RowStride + (long)feature * Pool;
        if (Pool == 1) return default(TElement).Load(Data[at]) * factor;
        float sum = 0f;
        for (int i = 0; i < Pool; i++) sum += default(TElement).Load(Data[at + i]);
        return sum / Pool * factor;
    }
}

/// <summary>A weight in 4-bit NormalFloat; blocks run over the flattened matrix. The table holds the 16 values, behind them the 256 of nested absmax.</summary>
internal struct Nf4Weight : IOperand
{
    public const int Values = 16;

    public ArrayView<byte> Codes;
    public ArrayView<float> Absmax; // when not nested
    public ArrayView<byte> AbsmaxCodes; // when nested
    public ArrayView<float> NestedAbsmax;
    public ArrayView<float> NestedMap;
    public ArrayView<float> QuantMap;
    public float NestedOffset;
    public int IsNested;
    public int BlockShift;
    public int NestedShift;
    public long Columns;
    public int RowsAreLines;

    public readonly float TableEntry(int i) => i < Values ? QuantMap[i] : IsNested != 0 ? NestedMap[i - Values] : 0f;

    public readonly float At(int line, int depth, ArrayView<float> table)
    {
        long element = RowsAreLines != 0 ? line * Columns + depth : depth * Columns + line;
        int pair = Codes[element >> 1], code = (element & 1) == 0 ? pair >> 4 : pair & 15;
        long block = element >> BlockShift;
        if (IsNested == 0) return table[code] * Absmax[block];
        float scaled = table[Values + AbsmaxCodes[block]] * NestedAbsmax[block >> NestedShift];
        return table[code] * (scaled + NestedOffset);
    }
}

/// <summary>A weight of 8 bits with a scale for every row.</summary>
internal struct Int8Weight : IOperand
{
    public ArrayView<byte> Codes;
    public ArrayView<float> Scale;
    public long Columns;
    public int RowsAreLines;

    public readonly float TableEntry(int i) => 0f;

    public readonly float At(int line, int depth, ArrayView<float> table)
    {
        int row = RowsAreLines != 0 ? line : depth, column = RowsAreLines != 0 ? depth : line;
        return (sbyte)Codes[row * Columns + column] * Scale[row];
    }
}

/// <summary>A weight of 4, 3 or 2 bits with a scale and a minimum for every group of a row.</summary>
internal struct AffineWeight : IOperand
{
    public ArrayView<byte> Codes;
    public ArrayView<float> Scale;
    public ArrayView<float> Minimum;
    public long RowBytes;
    public long Groups;
    public int Bits;
    public int GroupShift;
    public int RowsAreLines;

    public readonly float TableEntry(int i) => 0f;

    public readonly float At(int line, int depth, ArrayView<float> table)
    {
        int row = RowsAreLines != 0 ? line : depth, column = RowsAreLines != 0 ? depth : line;
        long bit = (long)column * Bits, at = row * RowBytes + (bit >> 3);
        int shift = (int)(bit & 7), word = Codes[at];
        if (shift + Bits > 8) word |= Codes[at + 1] << 8;
        int code = (word >> shift) & ((1 << Bits) - 1);
        long group = row * Groups + (column >> GroupShift);
        return Intrinsics.Fma(Scale[group], code, Minimum[group]);
    }
}
