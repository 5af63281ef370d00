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
    public int ADepthContiguous; // which way the threads walk when they fill a tile
    public int BDepthContiguous;
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

/// <summary>Matrix products by tiles of 64 × 64 in shared memory, 4 × 4 elements a thread in sixteen scalars.</summary>
internal static class MatmulKernels
{
    internal const int Tile = 64;
    internal const int Side = 16; // a group has Side × Side threads
    internal const int TableSize = 16 + 256; // of Nf4Weight
    private const int Depth = 16;
    private const int Loads = Depth * Tile / (Side * Side); // elements of a tile that a thread fills
    private const int Pitch = Tile + 4; // four neighbours stay aligned, and a column spreads over the banks

    public static void Product<TA, TB, T, TElement, TMultiplyAdd>(TA operandA, TB operandB, ProductArguments<T> p)
        where TA : struct, IOperand
        where TB : struct, IOperand
        where T : unmanaged
        where TElement : struct, IElement<T>
        where TMultiplyAdd : struct, IMultiplyAdd
    {
        ArrayView<float> a = SharedMemory.Allocate<float>(Depth * Pitch);
        ArrayView<float> b = SharedMemory.Allocate<float>(Depth * Pitch);
        ArrayView<float> table = SharedMemory.Allocate<float>(TableSize);
        int tx = Group.IdxX, ty = Group.IdxY, thread = ty * Side + tx;
        int row0 = Grid.IdxY * Tile, column0 = Grid.IdxX * Tile;
        for (int i = thread; i < TableSize; i += Side * Side) table[i] = operandB.TableEntry(i);
        Intrinsics.Barrier();
        bool aAlong = p.ADepthContiguous != 0, bAlong = p.BDepthContiguous != 0;
        float c00 = 0f, c01 = 0f, c02 = 0f, c03 = 0f, c10 = 0f, c11 = 0f, c12 = 0f, c13 = 0f;
        float c20 = 0f, c21 = 0f, c22 = 0f, c23 = 0f, c30 = 0f, c31 = 0f, c32 = 0f, c33 = 0f;
        int row = row0 + ty * 4, column = column0 + tx * 4;

        for (int step = 0; step < p.Depth; step += Depth)
        {
            for (int i = 0; i < Loads; i++)
            {
                int line = LineOf(aAlong, i), depth = DepthOf(aAlong, i);
                a[depth * Pitch + line] = row0 + line < p.Rows && step + depth < p.Depth ? operandA.At(row0 + line, step + depth, table) : 0f;
            }

            for (int i = 0; i < Loads; i++)
            {
                int line = LineOf(bAlong, i), depth = DepthOf(bAlong, i);
                b[depth * Pitch + line] = column0 + line < p.Columns && step + depth < p.Depth ? operandB.At(column0 + line, step + depth, table) : 0f;
            }

            Intrinsics.Barrier();
            for (int d = 0; d < Depth; d++)
            {
                int at = d * Pitch + ty * 4, bt = d * Pitch + tx * 4;
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
        for (int step = 0; step < p.Adapter.Rank; step += Side)
        {
            for (int i = 0; i < 4; i++)
            {
                int line = ty + i * Side, t = step + tx;
                a[tx * Pitch + line] = row0 + line < p.Rows && t < p.Adapter.Rank ? p.Adapter.Scale * p.Adapter.S[(long)(row0 + line) * p.Adapter.Rank + t] : 0f;
                b[tx * Pitch + line] = column0 + line < p.Columns && t < p.Adapter.Rank
                    ? p.Adapter.B[t * p.Adapter.RankStride + (column0 + line) / p.Adapter.Pool * p.Adapter.ColumnStride] : 0f;
            }

            Intrinsics.Barrier();
            int depth = IntrinsicMath.Min(Side, p.Adapter.Rank - step);
            for (int d = 0; d < depth; d++)
            {
                int at = d * Pitch + ty * 4, bt = d * Pitch + tx * 4;
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

    /// <summary>Load i of a thread: neighbouring threads take neighbours in memory, along the depth or along the lines.</summary>
    private static int LineOf(bool along, int i) => along ? Group.IdxY + i % 4 * Side : (Group.IdxY * Side + Group.IdxX) % Tile;

    private static int DepthOf(bool along, int i) => along ? Group.IdxX + i / 4 * Side : (Group.IdxY * Side + Group.IdxX) / Tile + i * 4;

    /// <summary>Which of a thread's 4 × 4 elements the adapter reaches, a bit each.</summary>
    private static int KeptElements<T>(ProductArguments<T> p, int row, int column)
        where T : unmanaged
    {
        int kept = 0;
        for (int i = 0; i < 16; i++)
        {
            int r = row + i / 4, c = column + i % 4;
            if (r < p.Rows && c < p.Columns && p.Adapter.Dropout.Keeps(r, c / p.Adapter.Pool)) kept |= 1 << i;
        }

        return kept;
    }

    private static void StoreRow<T, TElement>(ProductArguments<T> p, int row, int column, float c0, float c1, float c2, float c3)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        if (row >= p.Rows) return;
        int target = p.HasCRows != 0 ? p.CRows[row] : row;
        if (target < 0) return;
        long at = target * p.CStride;
        Store<T, TElement>(p, at, column, c0);
        Store<T, TElement>(p, at, column + 1, c1);
        Store<T, TElement>(p, at, column + 2, c2);
        Store<T, TElement>(p, at, column + 3, c3);
    }

    private static void Store<T, TElement>(ProductArguments<T> p, long row, int column, float value)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        if (column >= p.Columns) return;
        float c = p.Alpha * value;
        if (p.HasBias != 0) c += p.Bias[column];
        if (p.Accumulate != 0) c += default(TElement).Load(p.C[row + column]);
        p.C[row + column] = default(TElement).Store(c);
    }
}
