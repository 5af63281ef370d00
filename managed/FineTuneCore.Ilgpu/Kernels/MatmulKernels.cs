using ILGPU;

namespace FineTuneCore.Ilgpu.Kernels;

/// <summary>
/// Where C = alpha · (A B + the adapter) + bias goes, or is added. The adapter, mask · Scale · S B, is more depth
/// of the same product, so that LoRA costs no pass over C of its own.
/// </summary>
internal struct ProductArguments<T>
    where T : unmanaged
{
    public ArrayView<T> C;
    public ArrayView<int> CRows; // row i of the product is row CRows[i] of C, when HasCRows; none where negative
    public ArrayView<float> Bias; // [columns], when HasBias
    public AdapterArguments Adapter;
    public long CStride;
    public int Rows;
    public int Columns;
    public int Depth;
    public int ADepthContiguous; // the lines of A, rows of C, are its rows; else its columns
    public int BDepthContiguous; // the lines of B, columns of C, are its rows; else its columns
    public int Accumulate;
    public int HasBias;
    public int HasCRows;
    public float Alpha;
}

/// <summary>The adapter inside a product: S [rows, rank] times B, whose element (rank t, column j) is B[t · RankStride + j / Pool · ColumnStride].</summary>
internal struct AdapterArguments
{
    public ArrayView<float> S;
    public ArrayView<float> B;
    public long RankStride;
    public long ColumnStride;
    public int Rank; // 0: no adapter
    public int Pool;
    public float Scale;
    public Dropout Dropout; // mask of the product, in backward
}

/// <summary>
/// Matrix products C(i, j) = Σ over depth of A(i, depth) · B(j, depth) by tiles in shared memory, 64 × 64 where a group's side has 16 threads, 4 × 4 elements a
/// thread in sixteen scalars.
/// </summary>
internal static class MatmulKernels
{
    internal const int PerThread = 4; // rows and columns
    internal const int TableSize = 16 + 256; // of Nf4Weight

    public static void Product<TA, TB, T, TElement, TMultiplyAdd, TSide>(TA operandA, TB operandB, ProductArguments<T> p)
        where TA : struct, IOperand
        where TB : struct, IOperand
        where T : unmanaged
        where TElement : struct, IElement<T>
        where TMultiplyAdd : struct, IMultiplyAdd
        where TSide : struct, ISide
    {
        // A step of the depth is as long as a group's side: then each thread fills four elements of either tile.
        ArrayView<float> a = SharedMemory.Allocate<float>(default(TSide).Threads * Pitch<TSide>());
        ArrayView<float> b = SharedMemory.Allocate<float>(default(TSide).Threads * Pitch<TSide>());
        ArrayView<float> table = SharedMemory.Allocate<float>(TableSize);
        int side = default(TSide).Threads, tile = side * PerThread, pitch = Pitch<TSide>();
        int tx = Group.IdxX, ty = Group.IdxY;
        int row0 = Grid.IdxY * tile, column0 = Grid.IdxX * tile;
        for (int i = ty * side + tx; i < TableSize; i += side * side) table[i] = operandB.TableEntry(i);
        Intrinsics.Barrier();
        float c00 = 0f, c01 = 0f, c02 = 0f, c03 = 0f, c10 = 0f, c11 = 0f, c12 = 0f, c13 = 0f;
        float c20 = 0f, c21 = 0f, c22 = 0f, c23 = 0f, c30 = 0f, c31 = 0f, c32 = 0f, c33 = 0f;
        int row = row0 + ty * PerThread, column = column0 + tx * PerThread;

        for (int step = 0; step < p.Depth; step += side)
        {
            Fill<TA, TSide>(a, operandA, p.ADepthContiguous != 0, row0, p.Rows, step, p.Depth, table);
            Fill<TB, TSide>(b, operandB, p.BDepthContiguous != 0, column0, p.Columns, step, p.Depth, table);
            Intrinsics.Barrier();
            for (int d = 0; d < side; d++)
            {
                int at = d * pitch + ty * PerThread, bt = d * pitch + tx * PerThread;
                float a0 = a[at], a1 = a[at + 1], a2 = a[at + 2], a3 = a[at + 3];
                float b0 = b[bt], b1 = b[bt + 1], b2 = b[bt + 2], b3 = b[bt + 3];
                c00 = default(TMultiplyAdd).Of(a0, b0, c00);
                c01 = default(TMultiplyAdd).Of(a0, b1, c01);
                c02 = default(TMultiplyAdd).Of(a0, b2, c02);
                c03 = default(TMultiplyAdd).Of(a0, b3, c03);
                c10 = default(TMultiplyAdd).Of(a1, b0, c10);
                c11 = default(TMultiplyAdd).Of(a1, b1, c11);
                c12 = default(TMultiplyAdd).Of(a1, b2, c12);
                c13 = default(TMultiplyAdd).Of(a1, b3, c13);
                c20 = default(TMultiplyAdd).Of(a2, b0, c20);
                c21 = default(TMultiplyAdd).Of(a2, b1, c21);
                c22 = default(TMultiplyAdd).Of(a2, b2, c22);
                c23 = default(TMultiplyAdd).Of(a2, b3, c23);
                c30 = default(TMultiplyAdd).Of(a3, b0, c30);
                c31 = default(TMultiplyAdd).Of(a3, b1, c31);
                c32 = default(TMultiplyAdd).Of(a3, b2, c32);
                c33 = default(TMultiplyAdd).Of(a3, b3, c33);
            }

            Intrinsics.Barrier();
        }

        // The adapter's rank goes on where the depth ended: its sums join last, as the smaller ones.
        int kept = p.Adapter.Rank > 0 ? KeptElements(p, row, column) : 0;
        for (int step = 0; step < p.Adapter.Rank; step += side)
        {
            for (int i = 0; i < PerThread; i++)
            {
                int line = ty + i * side, t = step + tx;
                a[tx * pitch + line] = row0 + line < p.Rows && t < p.Adapter.Rank ? p.Adapter.Scale * p.Adapter.S[(long)(row0 + line) * p.Adapter.Rank + t] : 0f;
                b[tx * pitch + line] = column0 + line < p.Columns && t < p.Adapter.Rank
                    ? p.Adapter.B[t * p.Adapter.RankStride + (column0 + line) / p.Adapter.Pool * p.Adapter.ColumnStride] : 0f;
            }

            Intrinsics.Barrier();
            int depth = IntrinsicMath.Min(side, p.Adapter.Rank - step);
            for (int d = 0; d < depth; d++)
            {
                int at = d * pitch + ty * PerThread, bt = d * pitch + tx * PerThread;
                float a0 = a[at], a1 = a[at + 1], a2 = a[at + 2], a3 = a[at + 3];
                float b0 = b[bt], b1 = b[bt + 1], b2 = b[bt + 2], b3 = b[bt + 3];
                c00 = default(TMultiplyAdd).Of((kept & 1) != 0 ? a0 : 0f, b0, c00);
                c01 = default(TMultiplyAdd).Of((kept & 2) != 0 ? a0 : 0f, b1, c01);
                c02 = default(TMultiplyAdd).Of((kept & 4) != 0 ? a0 : 0f, b2, c02);
                c03 = default(TMultiplyAdd).Of((kept & 8) != 0 ? a0 : 0f, b3, c03);
                c10 = default(TMultiplyAdd).Of((kept & 16) != 0 ? a1 : 0f, b0, c10);
                c11 = default(TMultiplyAdd).Of((kept & 32) != 0 ? a1 : 0f, b1, c11);
                c12 = default(TMultiplyAdd).Of((kept & 64) != 0 ? a1 : 0f, b2, c12);
                c13 = default(TMultiplyAdd).Of((kept & 128) != 0 ? a1 : 0f, b3, c13);
                c20 = default(TMultiplyAdd).Of((kept & 256) != 0 ? a2 : 0f, b0, c20);
                c21 = default(TMultiplyAdd).Of((kept & 512) != 0 ? a2 : 0f, b1, c21);
                c22 = default(TMultiplyAdd).Of((kept & 1024) != 0 ? a2 : 0f, b2, c22);
                c23 = default(TMultiplyAdd).Of((kept & 2048) != 0 ? a2 : 0f, b3, c23);
                c30 = default(TMultiplyAdd).Of((kept & 4096) != 0 ? a3 : 0f, b0, c30);
                c31 = default(TMultiplyAdd).Of((kept & 8192) != 0 ? a3 : 0f, b1, c31);
                c32 = default(TMultiplyAdd).Of((kept & 16384) != 0 ? a3 : 0f, b2, c32);
                c33 = default(TMultiplyAdd).Of((kept & 32768) != 0 ? a3 : 0f, b3, c33);
            }

            Intrinsics.Barrier();
        }

        StoreRow<T, TElement>(p, row, column, c00, c01, c02, c03);
        StoreRow<T, TElement>(p, row + 1, column, c10, c11, c12, c13);
        StoreRow<T, TElement>(p, row + 2, column, c20, c21, c22, c23);
        StoreRow<T, TElement>(p, row + 3, column, c30, c31, c32, c33);
    }

    /// <summary>Four rows stay aligned to two floats, and those of a depth lie in other banks than those of the next.</summary>
    private static int Pitch<TSide>()
        where TSide : struct, ISide => default(TSide).Threads * PerThread + 2;

    /// <summary>A tile [depth, line] from <paramref name="line0"/> and <paramref name="step"/> on, with zeros past the matrix. Neighbouring threads take neighbours in memory.</summary>
    private static void Fill<TOperand, TSide>(
        ArrayView<float> tile, TOperand operand, bool linesAreRows, int line0, int lines, int step, int depth, ArrayView<float> table)
        where TOperand : struct, IOperand
        where TSide : struct, ISide
    {
        int side = default(TSide).Threads, thread = Group.IdxY * side + Group.IdxX;
        int line = linesAreRows ? thread / (side / PerThread) : Group.IdxX * PerThread, d = linesAreRows ? thread % (side / PerThread) * PerThread : Group.IdxY;
        int row = linesAreRows ? line0 + line : step + d, column = linesAreRows ? step + d : line0 + line;
        int rows = linesAreRows ? lines : depth, columns = linesAreRows ? depth : lines;
        Four four = row < rows && column < columns ? operand.At(row, column, IntrinsicMath.Min(PerThread, columns - column), table) : default;
        int at = d * Pitch<TSide>() + line, next = linesAreRows ? Pitch<TSide>() : 1;
        tile[at] = four.A;
        tile[at + next] = four.B;
        tile[at + 2 * next] = four.C;
        tile[at + 3 * next] = four.D;
    }

    /// <summary>Which of a thread's 4 × 4 elements the adapter reaches, a bit each.</summary>
    private static int KeptElements<T>(ProductArguments<T> p, int row, int column)
        where T : unmanaged
    {
        int kept = 0;
        for (int i = 0; i < PerThread; i++)
        {
            if (row + i >= p.Rows) continue;
            if (p.Adapter.Pool == 1)
            {
                kept |= p.Adapter.Dropout.KeptOfFour(row + i, column) << (i * PerThread);
                continue;
            }

            for (int j = 0; j < PerThread; j++)
                if (p.Adapter.Dropout.Keeps(row + i, (column + j) / p.Adapter.Pool)) kept |= 1 << (i * PerThread + j);
        }

        return kept;
    }

    /// <summary>An element of the product, to where it belongs; nothing past the matrix or for a row that goes nowhere.</summary>
    internal static void Store<T, TElement>(ProductArguments<T> p, int row, int column, float value)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        if (row >= p.Rows || column >= p.Columns) return;
        int target = p.HasCRows != 0 ? p.CRows[row] : row;
        if (target < 0) return;
        long at = target * p.CStride + column;
        float c = p.Alpha * value;
        if (p.HasBias != 0) c += p.Bias[column];
        if (p.Accumulate != 0) c += default(TElement).Load(p.C[at]);
        p.C[at] = default(TElement).Store(c);
    }

    private static void StoreRow<T, TElement>(ProductArguments<T> p, int row, int column, float c0, float c1, float c2, float c3)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        Store<T, TElement>(p, row, column, c0);
        Store<T, TElement>(p, row, column + 1, c1);
        Store<T, TElement>(p, row, column + 2, c2);
        Store<T, TElement>(p, row, column + 3, c3);
    }
}
