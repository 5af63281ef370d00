using ILGPU;

namespace FineTuneCore.Ilgpu.Kernels;

/// <summary>
/// Products with few rows, as generation has them one by one: a tile would be mostly empty, and few groups would read the weight. Here a group takes 4 columns,
/// 16 threads each, that share out the depth and add up over a fixed tree; what it reads of B serves 4 rows.
/// </summary>
internal static class FewRowsKernels
{
    internal const int MostRows = 16; // beyond that tiles are faster
    internal const int Rows = 4;
    internal const int Columns = 4;
    internal const int Lanes = 16;
    private const int Threads = Lanes * Columns;

    /// <summary>A product whose operands both lie along the depth, and whose adapter drops nothing. Grid: blocks of 4 columns × blocks of 4 rows.</summary>
    public static void Product<TA, TB, T, TElement, TMultiplyAdd>(TA operandA, TB operandB, ProductArguments<T> p)
        where TA : struct, IOperand
        where TB : struct, IOperand
        where T : unmanaged
        where TElement : struct, IElement<T>
        where TMultiplyAdd : struct, IMultiplyAdd
    {
        ArrayView<float> table = SharedMemory.Allocate<float>(MatmulKernels.TableSize);
        ArrayView<float> sums = SharedMemory.Allocate<float>(Rows * Threads);
        int lane = Group.IdxX, thread = Group.IdxY * Lanes + lane, column = Grid.IdxX * Columns + Group.IdxY, row = Grid.IdxY * Rows;
        int rows = IntrinsicMath.Min(Rows, p.Rows - row);
        for (int i = thread; i < MatmulKernels.TableSize; i += Threads) table[i] = operandB.TableEntry(i);
        Intrinsics.Barrier();
        Four c0 = default, c1 = default, c2 = default, c3 = default;
        int depth = column < p.Columns ? p.Depth : 0;
        for (int d = lane * 4; d < depth; d += Lanes * 4)
        {
            int count = IntrinsicMath.Min(4, depth - d);
            Four b = operandB.At(column, d, count, table);
            c0 = Added<TMultiplyAdd>(operandA.At(row, d, count, table), b, c0);
            if (rows > 1) c1 = Added<TMultiplyAdd>(operandA.At(row + 1, d, count, table), b, c1);
            if (rows > 2) c2 = Added<TMultiplyAdd>(operandA.At(row + 2, d, count, table), b, c2);
            if (rows > 3) c3 = Added<TMultiplyAdd>(operandA.At(row + 3, d, count, table), b, c3);
        }

        sums[thread] = Sum(c0);
        sums[Threads + thread] = Sum(c1);
        sums[2 * Threads + thread] = Sum(c2);
        sums[3 * Threads + thread] = Sum(c3);
        int rank = column < p.Columns ? p.Adapter.Rank : 0;
        for (int t = lane; t < rank; t += Lanes)
        {
            float b = p.Adapter.B[t * p.Adapter.RankStride + column / p.Adapter.Pool * p.Adapter.ColumnStride] * p.Adapter.Scale;
            for (int i = 0; i < rows; i++) sums[i * Threads + thread] += p.Adapter.S[(long)(row + i) * p.Adapter.Rank + t] * b;
        }

        Intrinsics.Barrier();
        for (int half = Lanes / 2; half > 0; half /= 2)
        {
            if (lane < half)
                for (int i = 0; i < Rows; i++) sums[i * Threads + thread] += sums[i * Threads + thread + half];
            Intrinsics.Barrier();
        }

        if (lane < rows && column < p.Columns) MatmulKernels.Store<T, TElement>(p, row + lane, column, sums[lane * Threads + Group.IdxY * Lanes]);
    }

    private static Four Added<TMultiplyAdd>(Four a, Four b, Four c)
        where TMultiplyAdd : struct, IMultiplyAdd => new()
    {
        A = default(TMultiplyAdd).Of(a.A, b.A, c.A), B = default(TMultiplyAdd).Of(a.B, b.B, c.B),
        C = default(TMultiplyAdd).Of(a.C, b.C, c.C), D = default(TMultiplyAdd).Of(a.D, b.D, c.D),
    };

    private static float Sum(Four c) => (c.A + c.B) + (c.C + c.D);
}
