using ILGPU;

namespace FineTuneCore.Ilgpu.Kernels;

/// <summary>Elements of one row of an operand, next to each other.</summary>
internal struct Four
{
    public float A;
    public float B;
    public float C;
    public float D;
}

/// <summary>
/// A matrix as one side of a product, read four elements of a row at a time, while a tile is filled: what a row, a block or a group has in common is then
/// looked up once. Quantised weights are decoded here.
/// </summary>
internal interface IOperand
{
    /// <summary>Entry i, below <see cref="MatmulKernels.TableSize"/>, of the table that a group keeps in shared memory; formats without one answer 0.</summary>
    float TableEntry(int i);

    /// <summary>Elements [column, column + count) of a row, count 1 to 4, column a multiple of 4; the others are 0.</summary>
    Four At(int row, int column, int count, ArrayView<float> table);
}

/// <summary>A plain matrix.</summary>
internal struct Dense<T, TElement> : IOperand
    where T : unmanaged
    where TElement : struct, IElement<T>
{
    public ArrayView<T> Data;
    public long RowStride;

    public readonly float TableEntry(int i) => 0f;

    public readonly Four At(int row, int column, int count, ArrayView<float> table) => Elements.Four<T, TElement>(Data, row * RowStride + column, count);
}

/// <summary>Rows of a matrix by their numbers; a negative number is a row of zeros.</summary>
internal struct GatheredRows<T, TElement> : IOperand
    where T : unmanaged
    where TElement : struct, IElement<T>
{
    public ArrayView<T> Data;
    public ArrayView<int> Numbers;
    public long RowStride;

    public readonly float TableEntry(int i) => 0f;

    public readonly Four At(int row, int column, int count, ArrayView<float> table)
    {
        int number = Numbers[row];
        return number < 0 ? default : Elements.Four<T, TElement>(Data, number * RowStride + column, count);
    }
}

/// <summary>drop(P(X)): what an adapter sees of X, with P the mean of every Pool neighbouring features (QA-LoRA) or, for a Pool of 1, X itself.</summary>
internal struct AdapterInput<T, TElement> : IOperand
    where T : unmanaged
    where TElement : struct, IElement<T>
{
    public ArrayView<T> Data;
    public long RowStride;
    public int Pool;
    public Dropout Dropout;

    public readonly float TableEntry(int i) => 0f;

    public readonly Four At(int row, int column, int count, ArrayView<float> table)
    {
        Four x = Pool == 1 ? Elements.Four<T, TElement>(Data, row * RowStride + column, count) : default;
        if (Pool > 1)
        {
            long at = row * RowStride + (long)column * Pool;
            x.A = Mean(at);
            x.B = count > 1 ? Mean(at + Pool) : 0f;
            x.C = count > 2 ? Mean(at + 2 * Pool) : 0f;
            x.D = count > 3 ? Mean(at + 3 * Pool) : 0f;
        }

        if (Dropout.Threshold == 0) return x;
        int kept = Dropout.KeptOfFour(row, column);
        float factor = 1f / Dropout.Keep;
        x.A = (kept & 1) != 0 ? x.A * factor : 0f;
        x.B = (kept & 2) != 0 ? x.B * factor : 0f;
        x.C = (kept & 4) != 0 ? x.C * factor : 0f;
        x.D = (kept & 8) != 0 ? x.D * factor : 0f;
        return x;
    }

    private readonly float Mean(long at)
    {
        float sum = 0f;
        for (int i = 0; i < Pool; i++) sum += default(TElement).Load(Data[at + i]);
        return sum / Pool;
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

    public readonly float TableEntry(int i) => i < Values ? QuantMap[i] : IsNested != 0 ? NestedMap[i - Values] : 0f;

    public readonly Four At(int row, int column, int count, ArrayView<float> table)
    {
        long element = row * Columns + column;
        var four = default(Four);
        if (count == 4 && (element & 3) == 0)
        {
            // Two bytes of one block.
            int first = Codes[element >> 1], second = Codes[(element >> 1) + 1];
            float absmax = AbsmaxOf(element, table);
            four.A = table[first >> 4] * absmax;
            four.B = table[first & 15] * absmax;
            four.C = table[second >> 4] * absmax;
            four.D = table[second & 15] * absmax;
            return four;
        }

        four.A = One(element, table);
        if (count > 1) four.B = One(element + 1, table);
        if (count > 2) four.C = One(element + 2, table);
        if (count > 3) four.D = One(element + 3, table);
        return four;
    }

    private readonly float One(long element, ArrayView<float> table)
    {
        int pair = Codes[element >> 1], code = (element & 1) == 0 ? pair >> 4 : pair & 15;
        return table[code] * AbsmaxOf(element, table);
    }

    private readonly float AbsmaxOf(long element, ArrayView<float> table)
    {
        long block = element >> BlockShift;
        if (IsNested == 0) return Absmax[block];
        float scaled = table[Values + AbsmaxCodes[block]] * NestedAbsmax[block >> NestedShift];
        return scaled + NestedOffset;
    }
}

/// <summary>A weight of 8 bits with a scale for every row.</summary>
internal struct Int8Weight : IOperand
{
    public ArrayView<byte> Codes;
    public ArrayView<float> Scale;
    public long Columns;

    public readonly float TableEntry(int i) => 0f;

    public readonly Four At(int row, int column, int count, ArrayView<float> table)
    {
        long at = row * Columns + column;
        float scale = Scale[row];
        var four = default(Four);
        four.A = (sbyte)Codes[at] * scale;
        if (count > 1) four.B = (sbyte)Codes[at + 1] * scale;
        if (count > 2) four.C = (sbyte)Codes[at + 2] * scale;
        if (count > 3) four.D = (sbyte)Codes[at + 3] * scale;
        return four;
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

    public readonly float TableEntry(int i) => 0f;

    public readonly Four At(int row, int column, int count, ArrayView<float> table)
    {
        var four = default(Four);
        four.A = One(row, column);
        if (count > 1) four.B = One(row, column + 1);
        if (count > 2) four.C = One(row, column + 2);
        if (count > 3) four.D = One(row, column + 3);
        return four;
    }

    private readonly float One(int row, int column)
    {
        long bit = (long)column * Bits, at = row * RowBytes + (bit >> 3);
        int shift = (int)(bit & 7), word = Codes[at];
        if (shift + Bits > 8) word |= Codes[at + 1] << 8;
        int code = (word >> shift) & ((1 << Bits) - 1);
        long group = row * Groups + (column >> GroupShift);
        return Intrinsics.Fma(Scale[group], code, Minimum[group]);
    }
}

/// <summary>Elements as they lie in memory.</summary>
internal static class Elements
{
    /// <summary>Elements [at, at + count), count 1 to 4; the others are 0.</summary>
    public static Four Four<T, TElement>(ArrayView<T> data, long at, int count)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        var four = default(Four);
        four.A = default(TElement).Load(data[at]);
        if (count == 4)
        {
            // Without a question between them: a compiler makes them one load.
            four.B = default(TElement).Load(data[at + 1]);
            four.C = default(TElement).Load(data[at + 2]);
            four.D = default(TElement).Load(data[at + 3]);
            return four;
        }

        if (count > 1) four.B = default(TElement).Load(data[at + 1]);
        if (count > 2) four.C = default(TElement).Load(data[at + 2]);
        return four;
    }
}
