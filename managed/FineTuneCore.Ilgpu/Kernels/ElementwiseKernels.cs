using ILGPU;

namespace FineTuneCore.Ilgpu.Kernels;

internal struct ConvertArguments<TFrom, TTo>
    where TFrom : unmanaged
    where TTo : unmanaged
{
    public ArrayView<TFrom> X;
    public ArrayView<TTo> Y;
    public long Count;
}

internal struct DequantizeArguments<T>
    where T : unmanaged
{
    public ArrayView<T> Y;
    public long YStride;
    public int RowBegin;
    public int Columns;
}

/// <summary>Operands of SwiGLU; backward reads Y as dy.</summary>
internal struct SwigluArguments<T>
    where T : unmanaged
{
    public ArrayView<T> Y;
    public ArrayView<T> Gate;
    public ArrayView<T> Up;
    public ArrayView<T> Dgate;
    public ArrayView<T> Dup;
    public long YStride;
    public long GateStride;
    public long DgateStride;
    public int Columns;
}

internal struct RopeArguments<T>
    where T : unmanaged
{
    public ArrayView<T> X;
    public ArrayView<int> Positions;
    public ArrayView<float> Cos;
    public ArrayView<float> Sin;
    public ArrayView<int> Faults;
    public long RowStride;
    public int Heads;
    public int HeadDim;
    public int Half;
    public int TableRows;
    public float Direction; // 1 forward, -1 backward
}

internal struct EmbeddingArguments<TWeight, T>
    where TWeight : unmanaged
    where T : unmanaged
{
    public ArrayView<T> Y; // dy in backward
    public ArrayView<int> Ids;
    public ArrayView<TWeight> Weight; // dweight in backward
    public ArrayView<int> Faults;
    public long YStride;
    public long WeightStride;
    public int Rows;
    public int Columns;
    public int VocabSize;
}

internal struct BiasArguments<T>
    where T : unmanaged
{
    public ArrayView<T> Dy;
    public ArrayView<float> Dbias;
    public long DyStride;
    public int Rows;
    public int Columns;
}

/// <summary>What only the device can see goes wrong: the number of the last such row + 1, reported when the host waits.</summary>
internal static class Fault
{
    internal const int Id = 0;
    internal const int Position = 1;
    internal const int Target = 2;
    internal const int TrainedRows = 3;
    internal const int Count = 4;
}

/// <summary>Ops of one element, or one row, at a time. Grids are [column groups, rows].</summary>
internal static class ElementwiseKernels
{
    public static void Convert<TFrom, TFromElement, TTo, TToElement>(ConvertArguments<TFrom, TTo> p)
        where TFrom : unmanaged
        where TFromElement : struct, IElement<TFrom>
        where TTo : unmanaged
        where TToElement : struct, IElement<TTo>
    {
        long i = Grid.LongGlobalIndex.X;
        if (i < p.Count) p.Y[i] = default(TToElement).Store(default(TFromElement).Load(p.X[i]));
    }

    /// <summary>A thread takes four elements of a row.</summary>
    public static void Dequantize<TWeight, T, TElement>(TWeight weight, DequantizeArguments<T> p)
        where TWeight : struct, IOperand
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        ArrayView<float> table = SharedMemory.Allocate<float>(MatmulKernels.TableSize);
        for (int i = Group.IdxX; i < MatmulKernels.TableSize; i += Group.DimX) table[i] = weight.TableEntry(i);
        Intrinsics.Barrier();
        int column = Grid.GlobalIndex.X * 4, row = Grid.IdxY;
        if (column >= p.Columns) return;
        Four four = weight.At(p.RowBegin + row, column, IntrinsicMath.Min(4, p.Columns - column), table);
        long at = row * p.YStride + column;
        p.Y[at] = default(TElement).Store(four.A);
        if (column + 1 < p.Columns) p.Y[at + 1] = default(TElement).Store(four.B);
        if (column + 2 < p.Columns) p.Y[at + 2] = default(TElement).Store(four.C);
        if (column + 3 < p.Columns) p.Y[at + 3] = default(TElement).Store(four.D);
    }

    public static void SwigluForward<T, TElement>(SwigluArguments<T> p)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        int column = Grid.GlobalIndex.X, row = Grid.IdxY;
        if (column >= p.Columns) return;
        float gate = default(TElement).Load(p.Gate[row * p.GateStride + column]), up = default(TElement).Load(p.Up[row * p.GateStride + column]);
        p.Y[row * p.YStride + column] = default(TElement).Store(gate / (1f + MathF.Exp(-gate)) * up);
    }

    public static void SwigluBackward<T, TElement>(SwigluArguments<T> p)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        int column = Grid.GlobalIndex.X, row = Grid.IdxY;
        if (column >= p.Columns) return;
        float gate = default(TElement).Load(p.Gate[row * p.GateStride + column]), up = default(TElement).Load(p.Up[row * p.GateStride + column]);
        float dy = default(TElement).Load(p.Y[row * p.YStride + column]);
        float share = 1f / (1f + MathF.Exp(-gate));
        p.Dgate[row * p.DgateStride + column] = default(TElement).Store(dy * up * (share * (1f + gate * (1f - share))));
        p.Dup[row * p.DgateStride + column] = default(TElement).Store(dy * (gate * share));
    }

    /// <summary>Grid: groups over heads × half × rows.</summary>
    public static void Rope<T, TElement>(RopeArguments<T> p)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        int pair = Grid.GlobalIndex.X, row = Grid.IdxY;
        if (pair >= p.Heads * p.Half) return;
        int i = pair % p.Half, position = p.Positions[row];
        if (position < 0 || position >= p.TableRows)
        {
            Atomic.Max(ref p.Faults[Fault.Position], row + 1);
            return;
        }

        long at = row * p.RowStride + pair / p.Half * p.HeadDim + i;
        float cos = p.Cos[(long)position * p.Half + i], sin = p.Sin[(long)position * p.Half + i] * p.Direction;
        float first = default(TElement).Load(p.X[at]), second = default(TElement).Load(p.X[at + p.Half]);
        p.X[at] = default(TElement).Store(first * cos - second * sin);
        p.X[at + p.Half] = default(TElement).Store(second * cos + first * sin);
    }

    public static void EmbeddingForward<TWeight, TWeightElement, T, TElement>(EmbeddingArguments<TWeight, T> p)
        where TWeight : unmanaged
        where TWeightElement : struct, IElement<TWeight>
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        int column = Grid.GlobalIndex.X, row = Grid.IdxY, id = p.Ids[row];
        if (column >= p.Columns) return;
        if (id < 0 || id >= p.VocabSize)
        {
            Atomic.Max(ref p.Faults[Fault.Id], row + 1);
            return;
        }

        p.Y[row * p.YStride + column] = default(TElement).Store(default(TWeightElement).Load(p.Weight[id * p.WeightStride + column]));
    }

    /// <summary>A thread takes a column, the rows in their order.</summary>
    public static void EmbeddingBackward<T, TElement>(EmbeddingArguments<float, T> p)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        int column = Grid.GlobalIndex.X;
        if (column >= p.Columns) return;
        for (int row = 0; row < p.Rows; row++)
        {
            int id = p.Ids[row];
            if (id < 0 || id >= p.VocabSize) Atomic.Max(ref p.Faults[Fault.Id], row + 1);
            else p.Weight[id * p.WeightStride + column] += default(TElement).Load(p.Y[row * p.YStride + column]);
        }
    }

    /// <summary>dbias[column] += Σ over rows of dy.</summary>
    public static void BiasGradient<T, TElement>(BiasArguments<T> p)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        int column = Grid.GlobalIndex.X;
        if (column >= p.Columns) return;
        float sum = 0f;
        for (int row = 0; row < p.Rows; row++) sum += default(TElement).Load(p.Dy[row * p.DyStride + column]);
        p.Dbias[column] += sum;
    }
}
