using System.Numerics;
using FineTuneCore.Backends;
using FineTuneCore.Ilgpu.Kernels;
using FineTuneCore.Tensors;
using ILGPU;
using ILGPU.Runtime;

namespace FineTuneCore.Ilgpu;

/// <summary>The linear layer of <see cref="IlgpuBackend"/>: every product is one kernel over the formats of its operands.</summary>
internal sealed unsafe partial class IlgpuBackend
{
    /// <summary>What is done with a weight once its format is known.</summary>
    private interface IWeightAction
    {
        void Run<TWeight>(IlgpuBackend backend, TWeight weight)
            where TWeight : struct, IOperand;
    }

    public void LinearForward(
        Tensor y, Tensor x, WeightMatrix weight, Tensor bias, ReadOnlySpan<LoraSegmentArguments> segments, in DropoutRows dropout,
        bool accumulate, in Workspace workspace)
    {
        if (x.Rows == 0) return;
        if (IsBf16(x.DType, "linear forward")) Forward<ushort, Bf16Element>(y, x, weight, bias, segments, in dropout, accumulate);
        else Forward<float, F32Element>(y, x, weight, bias, segments, in dropout, accumulate);
    }

    public void LinearBackward(
        Tensor dx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x, WeightMatrix weight, ReadOnlySpan<LoraSegmentArguments> segments,
        in DropoutRows dropout, bool accumulate, in Workspace workspace)
    {
        if (dy.Rows == 0) return;
        if (IsBf16(dy.DType, "linear backward")) Backward<ushort, Bf16Element>(dx, dweight, dbias, dy, x, weight, segments, in dropout, accumulate, in workspace);
        else Backward<float, F32Element>(dx, dweight, dbias, dy, x, weight, segments, in dropout, accumulate, in workspace);
    }

    /// <summary>Backward keeps dY B of every segment.</summary>
    public long LinearWorkspaceBytes(DType dtype, WeightFormat format, int border, long rows, long inFeatures, long outFeatures, long rank) =>
        checked(rows * rank * sizeof(float));

    public LinearStrides LinearStrides(DType dtype, long inFeatures, long outFeatures, long rank) => new(0, inFeatures, outFeatures, inFeatures);

    /// <summary>Always packed: a weight is decoded while a tile is filled.</summary>
    public long TunePackedRows(long packedRows) => long.MaxValue;

    public void Dequantize(Tensor y, WeightMatrix weight, long rowBegin, long rowCount)
    {
        if (rowCount == 0) return;
        if (IsBf16(y.DType, "dequantisation into")) DequantizeInto<ushort, Bf16Element>(y, weight, rowBegin, rowCount);
        else DequantizeInto<float, F32Element>(y, weight, rowBegin, rowCount);
    }

    private void DequantizeInto<T, TElement>(Tensor y, WeightMatrix weight, long rowBegin, long rowCount)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        var arguments = new DequantizeArguments<T>
        {
            Y = View<T>(y with { Rows = rowCount, Columns = weight.Columns }), YStride = y.RowStride, RowBegin = checked((int)rowBegin), Columns = checked((int)weight.Columns),
        };
        WithWeight(weight, new DequantizeAction<T, TElement>(arguments, Matrix(rowCount, (weight.Columns + 3) / 4)));
    }

    private void Forward<T, TElement>(
        Tensor y, Tensor x, WeightMatrix weight, Tensor bias, ReadOnlySpan<LoraSegmentArguments> segments, in DropoutRows dropout, bool accumulate)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        Check(x.Rows, weight, segments);
        foreach (ref readonly LoraSegmentArguments s in segments)
        {
            if (s.RowBegin == s.RowEnd) continue;
            AdapterInput<T, TElement> input = Input<T, TElement>(x, in s, in dropout);
            long groups = weight.Columns / input.Pool;
            Product<AdapterInput<T, TElement>, Dense<float, F32Element>, float, F32Element>(
                input, Plain(View<float>(s.A, s.Rank * groups), groups),
                Into<float>(View<float>(s.S, (s.RowEnd - s.RowBegin) * s.Rank), s.Rank, s.RowEnd - s.RowBegin, s.Rank, groups) with { ADepthContiguous = 1, BDepthContiguous = 1 });
        }

        for (long row = 0; row < x.Rows;)
        {
            int segment = Piece(segments, row, x.Rows, out long end);
            Tensor part = x.RowBlock(row, end - row);
            ProductArguments<T> p = Into<T>(View<T>(y.RowBlock(row, end - row) with { Columns = weight.Rows }), y.RowStride, end - row, weight.Rows, weight.Columns) with
            {
                ADepthContiguous = 1, BDepthContiguous = 1, Accumulate = accumulate ? 1 : 0, Bias = View<float>(bias, weight.Rows), HasBias = Flag(bias),
            };
            if (segment >= 0)
            {
                ref readonly LoraSegmentArguments s = ref segments[segment];
                p.Adapter.S = View<float>(s.S, (end - row) * s.Rank);
                p.Adapter.B = View<float>(s.B, weight.Rows * s.Rank);
                (p.Adapter.RankStride, p.Adapter.ColumnStride, p.Adapter.Rank, p.Adapter.Scale) = (1, s.Rank, s.Rank, s.Scaling);
            }

            WithWeight(weight, new ProductAction<Dense<T, TElement>, T, TElement>(Matrix<T, TElement>(part, weight.Columns), p));
            row = end;
        }
    }

    private void Backward<T, TElement>(
        Tensor dx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x, WeightMatrix weight, ReadOnlySpan<LoraSegmentArguments> segments,
        in DropoutRows dropout, bool accumulate, in Workspace workspace)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        Check(dy.Rows, weight, segments);
        long n = weight.Rows, k = weight.Columns, taken = 0;
        Span<long> offsets = stackalloc long[segments.Length];
        for (int i = 0; i < segments.Length; i++)
        {
            ref readonly LoraSegmentArguments s = ref segments[i];
            long rows = s.RowEnd - s.RowBegin, floats = rows * s.Rank;
            offsets[i] = taken;
            taken += floats;
            if (rows == 0) continue;
            if (taken * sizeof(float) > workspace.Bytes) throw Invalid($"linear backward: the workspace has {workspace.Bytes} bytes, expected {taken * sizeof(float)}");
            Tensor part = dy.RowBlock(s.RowBegin, rows);
            ArrayView<float> ds = DownGradient(in workspace, offsets[i], floats);
            // dS = dY B, its scaling left to those who use it.
            Product<Dense<T, TElement>, Dense<float, F32Element>, float, F32Element>(
                Matrix<T, TElement>(part, n), Plain(View<float>(s.B, n * s.Rank), s.Rank), Into<float>(ds, s.Rank, rows, s.Rank, n) with { ADepthContiguous = 1 });
            if (!s.Da.IsNone)
            {
                AdapterInput<T, TElement> input = Input<T, TElement>(x, in s, in dropout);
                long groups = k / input.Pool;
                Product<Dense<float, F32Element>, AdapterInput<T, TElement>, float, F32Element>(
                    Plain(ds, s.Rank), input,
                    Into<float>(View<float>(s.Da, s.Rank * groups), groups, s.Rank, groups, rows) with { Accumulate = 1, Alpha = s.Scaling });
            }

            if (s.Db.IsNone) continue;
            Product<Dense<T, TElement>, Dense<float, F32Element>, float, F32Element>(
                Matrix<T, TElement>(part, n), Plain(View<float>(s.S, floats), s.Rank),
                Into<float>(View<float>(s.Db, n * s.Rank), s.Rank, n, s.Rank, rows) with { Accumulate = 1, Alpha = s.Scaling });
        }

        for (long row = 0; !dx.IsNone && row < dy.Rows;)
        {
            int segment = Piece(segments, row, dy.Rows, out long end);
            Tensor part = dy.RowBlock(row, end - row);
            ProductArguments<T> p = Into<T>(View<T>(dx.RowBlock(row, end - row) with { Columns = k }), dx.RowStride, end - row, k, n) with
            {
                ADepthContiguous = 1, Accumulate = accumulate ? 1 : 0,
            };
            if (segment >= 0)
            {
                ref readonly LoraSegmentArguments s = ref segments[segment];
                int pool = Math.Max(1, s.Pool);
                p.Adapter.Dropout = DropoutOf(in s, in dropout);
                p.Adapter.S = DownGradient(in workspace, offsets[segment], (end - row) * s.Rank);
                p.Adapter.B = View<float>(s.A, s.Rank * (k / pool));
                (p.Adapter.RankStride, p.Adapter.ColumnStride, p.Adapter.Rank, p.Adapter.Scale, p.Adapter.Pool) = (k / pool, 1, s.Rank, s.Scaling / pool / p.Adapter.Dropout.Keep, pool);
            }

            WithWeight(weight, new ProductAction<Dense<T, TElement>, T, TElement>(Matrix<T, TElement>(part, n), p));
            row = end;
        }

        if (!dweight.IsNone)
        {
            Product<Dense<T, TElement>, Dense<T, TElement>, float, F32Element>(
                Matrix<T, TElement>(dy, n), Matrix<T, TElement>(x, k),
                Into<float>(View<float>(dweight with { Rows = n, Columns = k }), dweight.RowStride, n, k, dy.Rows) with { Accumulate = 1 });
        }

        if (dbias.IsNone) return;
        _kernels.Run(ElementwiseKernels.BiasGradient<T, TElement>, Elements(n), new BiasArguments<T>
        {
            Dy = View<T>(dy), Dbias = View<float>(dbias, n), DyStride = dy.RowStride, Rows = checked((int)dy.Rows), Columns = checked((int)n),
        });
    }

    private ArrayView<float> DownGradient(in Workspace workspace, long offset, long floats) =>
        View<float>(workspace.Memory with { ByteOffset = workspace.Memory.ByteOffset + offset * sizeof(float) }, floats);

    /// <summary>The segment that row belongs to, -1 for none, and where the rows of which this is true end.</summary>
    private static int Piece(ReadOnlySpan<LoraSegmentArguments> segments, long row, long rows, out long end)
    {
        end = rows;
        for (int i = 0; i < segments.Length; i++)
        {
            ref readonly LoraSegmentArguments s = ref segments[i];
            if (s.RowBegin <= row && row < s.RowEnd)
            {
                end = s.RowEnd;
                return i;
            }

            if (s.RowBegin > row && s.RowEnd > s.RowBegin) end = Math.Min(end, s.RowBegin);
        }

        return -1;
    }

    private static void Check(long rows, WeightMatrix weight, ReadOnlySpan<LoraSegmentArguments> segments)
    {
        foreach (ref readonly LoraSegmentArguments s in segments)
        {
            if (s.Rank < 1) throw Invalid($"a segment's rank is {s.Rank}, expected 1 or more");
            if (s.RowBegin < 0 || s.RowEnd < s.RowBegin || s.RowEnd > rows) throw Invalid($"a segment has rows [{s.RowBegin}, {s.RowEnd}), expected a part of [0, {rows})");
            if (s.Pool > 1 && weight.Columns % s.Pool != 0) throw Invalid($"a segment pools {s.Pool} features, expected a divisor of {weight.Columns}");
        }
    }

    private AdapterInput<T, TElement> Input<T, TElement>(Tensor x, in LoraSegmentArguments s, in DropoutRows dropout)
        where T : unmanaged
        where TElement : struct, IElement<T> => new()
    {
        Data = View<T>(x.RowBlock(s.RowBegin, s.RowEnd - s.RowBegin)), RowStride = x.RowStride, Pool = Math.Max(1, s.Pool),
        Dropout = DropoutOf(in s, in dropout),
    };

    /// <summary>Dropout of a segment's path; row 0 is the segment's first.</summary>
    private Dropout DropoutOf(in LoraSegmentArguments s, in DropoutRows rows)
    {
        uint threshold = (uint)(s.DropoutProbability * 65536f + 0.5f);
        long count = s.RowEnd - s.RowBegin, skipped = s.RowBegin * sizeof(int);
        bool drops = threshold != 0;
        return new Dropout
        {
            Samples = View<int>(drops ? rows.Samples with { ByteOffset = rows.Samples.ByteOffset + skipped } : default, count),
            Positions = View<int>(drops ? rows.Positions with { ByteOffset = rows.Positions.ByteOffset + skipped } : default, count),
            StepValue = View<int>(rows.StepNumbers.IsNone ? default : rows.StepNumbers with { ByteOffset = rows.StepNumbers.ByteOffset + sizeof(float) }, 1),
            HasStepValue = Flag(rows.StepNumbers), KeyLow = (uint)s.DropoutSeed, KeyHigh = (uint)(s.DropoutSeed >> 32), Step = rows.Step,
            Threshold = threshold, Keep = 1f - threshold / 65536f,
        };
    }

    private Dense<T, TElement> Matrix<T, TElement>(Tensor matrix, long columns)
        where T : unmanaged
        where TElement : struct, IElement<T> => new() { Data = View<T>(matrix with { Columns = columns }), RowStride = matrix.RowStride };

    private static Dense<float, F32Element> Plain(ArrayView<float> data, long rowStride) => new() { Data = data, RowStride = rowStride };

    /// <summary>A product [rows, columns] that is written to c.</summary>
    private ProductArguments<T> Into<T>(ArrayView<T> c, long stride, long rows, long columns, long depth)
        where T : unmanaged
    {
        ArrayView<float> none = View<float>(default, 0);
        ArrayView<int> noRows = View<int>(default, 0);
        return new ProductArguments<T>
        {
            C = c, CStride = stride, Rows = checked((int)rows), Columns = checked((int)columns), Depth = checked((int)depth), Alpha = 1f, Bias = none, CRows = noRows,
            Adapter = new AdapterArguments { S = none, B = none, Pool = 1, Dropout = new Dropout { Samples = noRows, Positions = noRows, StepValue = noRows } },
        };
    }

    private void Product<TA, TB, T, TElement>(TA a, TB b, ProductArguments<T> p)
        where TA : struct, IOperand
        where TB : struct, IOperand
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        if (p.Rows <= FewRowsKernels.MostRows && p.ADepthContiguous != 0 && p.BDepthContiguous != 0 && p.Adapter.Dropout.Threshold == 0) FewRows<TA, TB, T, TElement>(a, b, p);
        else if (_narrow) Product<TA, TB, T, TElement, Narrow>(a, b, p);
        else Product<TA, TB, T, TElement, Wide>(a, b, p);
    }

    private void Product<TA, TB, T, TElement, TSide>(TA a, TB b, ProductArguments<T> p)
        where TA : struct, IOperand
        where TB : struct, IOperand
        where T : unmanaged
        where TElement : struct, IElement<T>
        where TSide : struct, ISide
    {
        int side = default(TSide).Threads, tile = side * MatmulKernels.PerThread;
        var config = new KernelConfig(new Index2D((p.Columns + tile - 1) / tile, (p.Rows + tile - 1) / tile), new Index2D(side, side));
        if (_fused) _kernels.Run(MatmulKernels.Product<TA, TB, T, TElement, Fused, TSide>, config, a, b, p);
        else _kernels.Run(MatmulKernels.Product<TA, TB, T, TElement, Separate, TSide>, config, a, b, p);
    }

    private void FewRows<TA, TB, T, TElement>(TA a, TB b, ProductArguments<T> p)
        where TA : struct, IOperand
        where TB : struct, IOperand
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        const int Rows = FewRowsKernels.Rows, Columns = FewRowsKernels.Columns;
        var config = new KernelConfig(new Index2D((p.Columns + Columns - 1) / Columns, (p.Rows + Rows - 1) / Rows), new Index2D(FewRowsKernels.Lanes, Columns));
        if (_fused) _kernels.Run(FewRowsKernels.Product<TA, TB, T, TElement, Fused>, config, a, b, p);
        else _kernels.Run(FewRowsKernels.Product<TA, TB, T, TElement, Separate>, config, a, b, p);
    }

    /// <summary>Hands a weight to an action as the operand that its format makes it.</summary>
    private void WithWeight<TAction>(WeightMatrix w, TAction action)
        where TAction : struct, IWeightAction
    {
        long count = w.Rows * w.Columns;
        switch (w.Format)
        {
            case WeightFormat.F32:
                action.Run(this, Matrix<float, F32Element>(w.Data, w.Columns));
                break;
            case WeightFormat.BF16:
                action.Run(this, Matrix<ushort, Bf16Element>(w.Data, w.Columns));
                break;
            case WeightFormat.Nf4:
                bool nested = !w.NestedAbsmax.IsNone;
                long blocks = (count + w.BlockSize - 1) / w.BlockSize;
                action.Run(this, new Nf4Weight
                {
                    Codes = View<byte>(w.Data, (count + 1) / 2), Absmax = View<float>(nested ? default : w.Absmax, blocks),
                    AbsmaxCodes = View<byte>(nested ? w.Absmax : default, blocks), QuantMap = View<float>(w.QuantMap, Nf4Weight.Values),
                    NestedAbsmax = View<float>(w.NestedAbsmax, nested ? (blocks + w.NestedBlockSize - 1) / w.NestedBlockSize : 0),
                    NestedMap = View<float>(w.NestedMap, 256), NestedOffset = w.NestedOffset, IsNested = nested ? 1 : 0, BlockShift = Shift(w.BlockSize),
                    NestedShift = nested ? Shift(w.NestedBlockSize) : 0, Columns = w.Columns,
                });
                break;
            case WeightFormat.Int8:
                action.Run(this, new Int8Weight { Codes = View<byte>(w.Data, count), Scale = View<float>(w.Scale, w.Rows), Columns = w.Columns });
                break;
            case WeightFormat.Affine:
                long groups = w.Columns / w.GroupSize;
                action.Run(this, new AffineWeight
                {
                    Codes = View<byte>(w.Data, count / 8 * w.Bits), Scale = View<float>(w.Scale, w.Rows * groups), Minimum = View<float>(w.Minimum, w.Rows * groups),
                    RowBytes = w.Columns / 8 * w.Bits, Groups = groups, Bits = w.Bits, GroupShift = Shift(w.GroupSize),
                });
                break;
            default:
                throw Unsupported($"weights of format {w.Format}");
        }
    }

    private static int Shift(int size) => BitOperations.IsPow2(size) ? BitOperations.Log2((uint)size) : throw Unsupported($"blocks of {size}, only powers of two");

    private readonly struct ProductAction<TA, T, TElement>(TA a, ProductArguments<T> p) : IWeightAction
        where TA : struct, IOperand
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        public void Run<TWeight>(IlgpuBackend backend, TWeight weight)
            where TWeight : struct, IOperand => backend.Product<TA, TWeight, T, TElement>(a, weight, p);
    }

    private readonly struct DequantizeAction<T, TElement>(DequantizeArguments<T> p, KernelConfig config) : IWeightAction
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        public void Run<TWeight>(IlgpuBackend backend, TWeight weight)
            where TWeight : struct, IOperand => backend._kernels.Run(ElementwiseKernels.Dequantize<TWeight, T, TElement>, config, weight, p);
    }
}
