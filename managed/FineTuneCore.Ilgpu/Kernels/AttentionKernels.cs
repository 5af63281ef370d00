using ILGPU;

namespace FineTuneCore.Ilgpu.Kernels;

/// <summary>Operands of attention. Backward reads O, Dout and Lse and writes Dq, Dk, Dv; forward writes O and Lse.</summary>
internal struct AttentionArguments<T>
    where T : unmanaged
{
    public ArrayView<T> Q;
    public ArrayView<T> K;
    public ArrayView<T> V;
    public ArrayView<T> O;
    public ArrayView<float> Lse;
    public ArrayView<int> KeyBegin;
    public ArrayView<T> Dout;
    public ArrayView<T> Dq;
    public ArrayView<T> Dk;
    public ArrayView<T> Dv;
    public ArrayView<float> Delta; // [query rows, heads]: dout · o
    public long QStride;
    public long KStride;
    public long VStride;
    public long OStride;
    public long DoutStride;
    public long DqStride;
    public long DkStride;
    public long DvStride;
    public int QueryRows;
    public int KeyRows;
    public int FirstQuery;
    public int Heads;
    public int HeadsPerKey;
    public int HeadDim;
    public int HasKeyBegin;
    public int HasLse;
    public float Scale;
}

/// <summary>
/// Attention over a key interval by tiles of as many queries and keys as a group's side has threads, never the whole matrix of scores. Dao 2023,
/// arXiv:2307.08691. A thread owns the score of one query and one key; features come through shared memory 64 at a time, so that any head dim up to 256
/// takes the same memory.
/// </summary>
internal static class AttentionKernels
{
    internal const int KeySlice = 128; // features of dK and dV that a group sums up
    internal const int MaxHeadDim = 256;
    private const int Slice = 64;
    private const int Pitch = Slice + 1;

    /// <summary>Grid: query tiles × heads.</summary>
    public static void Forward<T, TElement, TSide>(AttentionArguments<T> p)
        where T : unmanaged
        where TElement : struct, IElement<T>
        where TSide : struct, ISide
    {
        int side = default(TSide).Threads, scorePitch = side + 1;
        ArrayView<float> queries = SharedMemory.Allocate<float>(default(TSide).Threads * Pitch);
        ArrayView<float> keys = SharedMemory.Allocate<float>(default(TSide).Threads * Pitch);
        ArrayView<float> scores = SharedMemory.Allocate<float>(default(TSide).Threads * (default(TSide).Threads + 1));
        ArrayView<float> statistics = SharedMemory.Allocate<float>(3 * default(TSide).Threads); // of a row: its largest score, what that shrinks, the sum
        ArrayView<float> output = SharedMemory.Allocate<float>(default(TSide).Threads * MaxHeadDim); // every element is one thread's own
        int tx = Group.IdxX, ty = Group.IdxY, head = Grid.IdxY, column = head * p.HeadDim, keyColumn = head / p.HeadsPerKey * p.HeadDim;
        int first = Grid.IdxX * side, i = first + ty;
        int begin = p.HasKeyBegin != 0 ? p.KeyBegin[first] : 0, end = p.FirstQuery + IntrinsicMath.Min(first + side, p.QueryRows);
        int myBegin = i < p.QueryRows && p.HasKeyBegin != 0 ? p.KeyBegin[i] : 0, myEnd = i < p.QueryRows ? p.FirstQuery + i + 1 : 0;
        float maximum = float.NegativeInfinity, sum = 0f;
        for (int d = tx; d < p.HeadDim; d += side) output[ty * MaxHeadDim + d] = 0f;

        for (int j0 = begin; j0 < end; j0 += side)
        {
            float score = 0f;
            for (int d0 = 0; d0 < p.HeadDim; d0 += Slice)
            {
                int features = IntrinsicMath.Min(Slice, p.HeadDim - d0);
                score += Meet<T, TElement, TSide>(queries, p.Q, p.QStride, first, p.QueryRows, column + d0, keys, p.K, p.KStride, j0, p.KeyRows, keyColumn + d0, features);
            }

            int j = j0 + tx;
            bool inside = j >= myBegin && j < myEnd;
            score *= p.Scale;
            scores[ty * scorePitch + tx] = inside ? score : float.NegativeInfinity;
            Intrinsics.Barrier();
            if (tx == 0)
            {
                float larger = maximum;
                for (int c = 0; c < side; c++) larger = IntrinsicMath.Max(larger, scores[ty * scorePitch + c]);
                statistics[side + ty] = maximum > float.NegativeInfinity ? MathF.Exp(maximum - larger) : 0f;
                statistics[ty] = maximum = larger;
            }

            Intrinsics.Barrier();
            float shrink = statistics[side + ty];
            scores[ty * scorePitch + tx] = inside ? MathF.Exp(score - statistics[ty]) : 0f;
            for (int d0 = 0; d0 < p.HeadDim; d0 += Slice)
            {
                int features = IntrinsicMath.Min(Slice, p.HeadDim - d0);
                Intrinsics.Barrier();
                Fill<T, TElement, TSide>(keys, p.V, p.VStride, j0, p.KeyRows, keyColumn + d0, features);
                Intrinsics.Barrier();
                for (int c = tx; c < features; c += side)
                {
                    int at = ty * MaxHeadDim + d0 + c;
                    output[at] = output[at] * shrink + Weighted<TSide>(scores, ty * scorePitch, keys, c);
                }
            }

            if (tx != 0) continue;
            float tileSum = 0f;
            for (int c = 0; c < side; c++) tileSum += scores[ty * scorePitch + c];
            sum = sum * shrink + tileSum;
        }

        if (tx == 0) statistics[2 * side + ty] = sum;
        Intrinsics.Barrier();
        if (i >= p.QueryRows) return;
        sum = statistics[2 * side + ty];
        float share = sum > 0f ? 1f / sum : 0f;
        for (int d = tx; d < p.HeadDim; d += side) p.O[i * p.OStride + column + d] = default(TElement).Store(output[ty * MaxHeadDim + d] * share);
        if (tx == 0 && p.HasLse != 0) p.Lse[(long)i * p.Heads + head] = sum > 0f ? maximum + MathF.Log(sum) : float.NegativeInfinity;
    }

    /// <summary>Delta = dout · o of every query row and head. One thread each.</summary>
    public static void Deltas<T, TElement>(AttentionArguments<T> p)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        int index = Grid.GlobalIndex.X;
        if (index >= p.QueryRows * p.Heads) return;
        int i = index / p.Heads, head = index % p.Heads;
        float sum = 0f;
        for (int d = 0; d < p.HeadDim; d++)
        {
            int column = head * p.HeadDim + d;
            sum += default(TElement).Load(p.Dout[i * p.DoutStride + column]) * default(TElement).Load(p.O[i * p.OStride + column]);
        }

        p.Delta[index] = sum;
    }

    /// <summary>dq. Grid: query tiles × heads.</summary>
    public static void QueryGradient<T, TElement, TSide>(AttentionArguments<T> p)
        where T : unmanaged
        where TElement : struct, IElement<T>
        where TSide : struct, ISide
    {
        int side = default(TSide).Threads, scorePitch = side + 1;
        ArrayView<float> queries = SharedMemory.Allocate<float>(default(TSide).Threads * Pitch);
        ArrayView<float> keys = SharedMemory.Allocate<float>(default(TSide).Threads * Pitch);
        ArrayView<float> scores = SharedMemory.Allocate<float>(default(TSide).Threads * (default(TSide).Threads + 1));
        ArrayView<float> gradient = SharedMemory.Allocate<float>(default(TSide).Threads * MaxHeadDim);
        int tx = Group.IdxX, ty = Group.IdxY, head = Grid.IdxY, column = head * p.HeadDim, keyColumn = head / p.HeadsPerKey * p.HeadDim;
        int first = Grid.IdxX * side, i = first + ty;
        int begin = p.HasKeyBegin != 0 ? p.KeyBegin[first] : 0, end = p.FirstQuery + IntrinsicMath.Min(first + side, p.QueryRows);
        int myBegin = i < p.QueryRows && p.HasKeyBegin != 0 ? p.KeyBegin[i] : 0, myEnd = i < p.QueryRows ? p.FirstQuery + i + 1 : 0;
        long at = (long)i * p.Heads + head;
        for (int d = tx; d < p.HeadDim; d += side) gradient[ty * MaxHeadDim + d] = 0f;

        for (int j0 = begin; j0 < end; j0 += side)
        {
            float score = 0f, dprobability = 0f;
            for (int d0 = 0; d0 < p.HeadDim; d0 += Slice)
            {
                int features = IntrinsicMath.Min(Slice, p.HeadDim - d0);
                score += Meet<T, TElement, TSide>(queries, p.Q, p.QStride, first, p.QueryRows, column + d0, keys, p.K, p.KStride, j0, p.KeyRows, keyColumn + d0, features);
                dprobability += Meet<T, TElement, TSide>(
                    queries, p.Dout, p.DoutStride, first, p.QueryRows, column + d0, keys, p.V, p.VStride, j0, p.KeyRows, keyColumn + d0, features);
            }

            int j = j0 + tx;
            float dscore = 0f;
            if (j >= myBegin && j < myEnd) dscore = MathF.Exp(score * p.Scale - p.Lse[at]) * (dprobability - p.Delta[at]) * p.Scale;
            scores[ty * scorePitch + tx] = dscore;
            for (int d0 = 0; d0 < p.HeadDim; d0 += Slice)
            {
                int features = IntrinsicMath.Min(Slice, p.HeadDim - d0);
                Intrinsics.Barrier();
                Fill<T, TElement, TSide>(keys, p.K, p.KStride, j0, p.KeyRows, keyColumn + d0, features);
                Intrinsics.Barrier();
                for (int c = tx; c < features; c += side)
                    gradient[ty * MaxHeadDim + d0 + c] += Weighted<TSide>(scores, ty * scorePitch, keys, c);
            }
        }

        if (i >= p.QueryRows) return;
        for (int d = tx; d < p.HeadDim; d += side) p.Dq[i * p.DqStride + column + d] = default(TElement).Store(gradient[ty * MaxHeadDim + d]);
    }

    /// <summary>dk and dv of a tile of keys, summed over the query heads that read them. Grid: key tiles × key-value heads × slices of the head dim.</summary>
    public static void KeyGradient<T, TElement, TSide>(AttentionArguments<T> p)
        where T : unmanaged
        where TElement : struct, IElement<T>
        where TSide : struct, ISide
    {
        int side = default(TSide).Threads, scorePitch = side + 1;
        ArrayView<float> keys = SharedMemory.Allocate<float>(default(TSide).Threads * Pitch);
        ArrayView<float> queries = SharedMemory.Allocate<float>(default(TSide).Threads * Pitch);
        ArrayView<float> probabilities = SharedMemory.Allocate<float>(default(TSide).Threads * (default(TSide).Threads + 1));
        ArrayView<float> scores = SharedMemory.Allocate<float>(default(TSide).Threads * (default(TSide).Threads + 1));
        ArrayView<float> dk = SharedMemory.Allocate<float>(default(TSide).Threads * KeySlice);
        ArrayView<float> dv = SharedMemory.Allocate<float>(default(TSide).Threads * KeySlice);
        int tx = Group.IdxX, ty = Group.IdxY, keyHead = Grid.IdxY, keyColumn = keyHead * p.HeadDim, j0 = Grid.IdxX * side, j = j0 + ty;
        int sliceBegin = Grid.IdxZ * KeySlice, sliceEnd = IntrinsicMath.Min(sliceBegin + KeySlice, p.HeadDim);
        int from = IntrinsicMath.Max(0, j0 - p.FirstQuery), to = p.QueryRows;
        if (p.HasKeyBegin != 0)
        {
            // key_begin does not decrease: from the first query that begins behind these keys on nobody reads them.
            int low = from;
            while (low < to)
            {
                int middle = (low + to) / 2;
                if (p.KeyBegin[middle] < j0 + side) low = middle + 1;
                else to = middle;
            }
        }

        for (int d = tx; d < KeySlice; d += side)
        {
            dk[ty * KeySlice + d] = 0f;
            dv[ty * KeySlice + d] = 0f;
        }

        for (int head = keyHead * p.HeadsPerKey; head < (keyHead + 1) * p.HeadsPerKey; head++)
        {
            int column = head * p.HeadDim;
            for (int first = from; first < to; first += side)
            {
                float score = 0f, dprobability = 0f;
                for (int d0 = 0; d0 < p.HeadDim; d0 += Slice)
                {
                    int features = IntrinsicMath.Min(Slice, p.HeadDim - d0);
                    score += Meet<T, TElement, TSide>(keys, p.K, p.KStride, j0, p.KeyRows, keyColumn + d0, queries, p.Q, p.QStride, first, p.QueryRows, column + d0, features);
                    dprobability += Meet<T, TElement, TSide>(
                        keys, p.V, p.VStride, j0, p.KeyRows, keyColumn + d0, queries, p.Dout, p.DoutStride, first, p.QueryRows, column + d0, features);
                }

                int i = first + tx;
                float probability = 0f, gradient = 0f;
                if (i < to && j <= p.FirstQuery + i)
                {
                    int begin = p.HasKeyBegin != 0 ? p.KeyBegin[i] : 0;
                    long at = (long)i * p.Heads + head;
                    if (j >= begin)
                    {
                        probability = MathF.Exp(score * p.Scale - p.Lse[at]);
                        gradient = probability * (dprobability - p.Delta[at]) * p.Scale;
                    }
                }

                probabilities[ty * scorePitch + tx] = probability;
                scores[ty * scorePitch + tx] = gradient;
                for (int d0 = sliceBegin; d0 < sliceEnd; d0 += Slice)
                {
                    int features = IntrinsicMath.Min(Slice, sliceEnd - d0);
                    Intrinsics.Barrier();
                    Fill<T, TElement, TSide>(keys, p.Dout, p.DoutStride, first, p.QueryRows, column + d0, features);
                    Fill<T, TElement, TSide>(queries, p.Q, p.QStride, first, p.QueryRows, column + d0, features);
                    Intrinsics.Barrier();
                    for (int c = tx; c < features; c += side)
                    {
                        int own = ty * KeySlice + d0 - sliceBegin + c;
                        dv[own] += Weighted<TSide>(probabilities, ty * scorePitch, keys, c);
                        dk[own] += Weighted<TSide>(scores, ty * scorePitch, queries, c);
                    }
                }
            }
        }

        if (j >= p.KeyRows) return;
        for (int d = sliceBegin + tx; d < sliceEnd; d += side)
        {
            int own = ty * KeySlice + d - sliceBegin;
            p.Dk[j * p.DkStride + keyColumn + d] = default(TElement).Store(dk[own]);
            p.Dv[j * p.DvStride + keyColumn + d] = default(TElement).Store(dv[own]);
        }
    }

    /// <summary>
    /// Fills two tiles with so many features of rows of a and of b: what row IdxY of the one and row IdxX of the other give multiplied. The group waits before
    /// and behind the filling.
    /// </summary>
    private static float Meet<T, TElement, TSide>(
        ArrayView<float> tileOfA, ArrayView<T> a, long strideOfA, int firstOfA, int countOfA, int columnOfA,
        ArrayView<float> tileOfB, ArrayView<T> b, long strideOfB, int firstOfB, int countOfB, int columnOfB, int features)
        where T : unmanaged
        where TElement : struct, IElement<T>
        where TSide : struct, ISide
    {
        Intrinsics.Barrier();
        Fill<T, TElement, TSide>(tileOfA, a, strideOfA, firstOfA, countOfA, columnOfA, features);
        Fill<T, TElement, TSide>(tileOfB, b, strideOfB, firstOfB, countOfB, columnOfB, features);
        Intrinsics.Barrier();
        float sum = 0f;
        for (int c = 0; c < features; c++) sum += tileOfA[Group.IdxY * Pitch + c] * tileOfB[Group.IdxX * Pitch + c];
        return sum;
    }

    /// <summary>So many features from a column on of a tile of rows from <paramref name="first"/> on; zero past the last row.</summary>
    private static void Fill<T, TElement, TSide>(ArrayView<float> tile, ArrayView<T> rows, long stride, int first, int count, int column, int features)
        where T : unmanaged
        where TElement : struct, IElement<T>
        where TSide : struct, ISide
    {
        int row = first + Group.IdxY;
        for (int c = Group.IdxX; c < features; c += default(TSide).Threads)
            tile[Group.IdxY * Pitch + c] = row < count ? default(TElement).Load(rows[row * stride + column + c]) : 0f;
    }

    /// <summary>Σ over the rows of a tile of weights[at + row] · tile[row, column].</summary>
    private static float Weighted<TSide>(ArrayView<float> weights, int at, ArrayView<float> tile, int column)
        where TSide : struct, ISide
    {
        float sum = 0f;
        for (int r = 0; r < default(TSide).Threads; r++) sum += weights[at + r] * tile[r * Pitch + column];
        return sum;
    }
}
