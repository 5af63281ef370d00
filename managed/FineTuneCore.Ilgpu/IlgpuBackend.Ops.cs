using FineTuneCore.Backends;
using FineTuneCore.Ilgpu.Kernels;
using FineTuneCore.Tensors;
using ILGPU;
using ILGPU.Runtime;

namespace FineTuneCore.Ilgpu;

/// <summary>Elementwise ops, norms and attention of <see cref="IlgpuBackend"/>.</summary>
internal sealed unsafe partial class IlgpuBackend
{
    public void Convert(Tensor y, Tensor x, long count)
    {
        if (count == 0) return;
        switch (x.DType)
        {
            case DType.F32: ConvertFrom<float, F32Element>(y, x, count); break;
            case DType.BF16: ConvertFrom<ushort, Bf16Element>(y, x, count); break;
            case DType.F16: ConvertFrom<ushort, F16Element>(y, x, count); break;
            default: throw Unsupported($"conversion from {x.DType}");
        }
    }

    public void EmbeddingForward(Tensor y, Tensor ids, WeightMatrix weight)
    {
        if (y.Rows == 0) return;
        if (IsBf16(y.DType, "embedding forward")) EmbeddingInto<ushort, Bf16Element>(y, ids, weight);
        else EmbeddingInto<float, F32Element>(y, ids, weight);
        _mayHaveFaults = true;
    }

    public void EmbeddingBackward(Tensor dweight, Tensor dy, Tensor ids)
    {
        if (dy.Rows == 0) return;
        if (IsBf16(dy.DType, "embedding backward")) EmbeddingGradient<ushort, Bf16Element>(dweight, dy, ids);
        else EmbeddingGradient<float, F32Element>(dweight, dy, ids);
        _mayHaveFaults = true;
    }

    public void RmsNormForward(Tensor y, Tensor sum, Tensor rstd, Tensor x, Tensor residual, Tensor weight, long heads, float eps)
    {
        if (x.Rows == 0) return;
        if (!sum.IsNone) SameStride(x, sum);
        if (IsBf16(x.DType, "RMSNorm forward")) NormForward<ushort, Bf16Element>(y, sum, rstd, x, residual, weight, heads, eps);
        else NormForward<float, F32Element>(y, sum, rstd, x, residual, weight, heads, eps);
    }

    public void RmsNormBackward(Tensor dx, Tensor dweight, Tensor dy, Tensor dsum, Tensor x, Tensor rstd, Tensor weight, long heads, float eps)
    {
        if (x.Rows == 0) return;
        if (IsBf16(x.DType, "RMSNorm backward")) NormBackward<ushort, Bf16Element>(dx, dweight, dy, dsum, x, rstd, weight, heads, eps);
        else NormBackward<float, F32Element>(dx, dweight, dy, dsum, x, rstd, weight, heads, eps);
    }

    public void RopeForward(Tensor x, Tensor positions, Tensor cos, Tensor sin, int headDim) => Rope(x, positions, cos, sin, headDim, 1f);

    public void RopeBackward(Tensor dx, Tensor positions, Tensor cos, Tensor sin, int headDim) => Rope(dx, positions, cos, sin, headDim, -1f);

    public void SwigluForward(Tensor y, Tensor gate, Tensor up)
    {
        if (gate.Rows == 0) return;
        SameStride(gate, up);
        if (IsBf16(y.DType, "SwiGLU forward")) Swiglu<ushort>(ElementwiseKernels.SwigluForward<ushort, Bf16Element>, y, gate, up, default, default);
        else Swiglu<float>(ElementwiseKernels.SwigluForward<float, F32Element>, y, gate, up, default, default);
    }

    public void SwigluBackward(Tensor dgate, Tensor dup, Tensor dy, Tensor gate, Tensor up)
    {
        if (gate.Rows == 0) return;
        SameStride(gate, up);
        SameStride(dgate, dup);
        if (IsBf16(dy.DType, "SwiGLU backward")) Swiglu<ushort>(ElementwiseKernels.SwigluBackward<ushort, Bf16Element>, dy, gate, up, dgate, dup);
        else Swiglu<float>(ElementwiseKernels.SwigluBackward<float, F32Element>, dy, gate, up, dgate, dup);
    }

    public void AttentionForward(Tensor o, Tensor lse, Tensor q, Tensor k, Tensor v, Tensor keyBegin, in AttentionShape shape, in Workspace workspace)
    {
        if (q.Rows == 0) return;
        if (IsBf16(q.DType, "attention forward")) Attend<ushort, Bf16Element>(o, lse, q, k, v, keyBegin, in shape);
        else Attend<float, F32Element>(o, lse, q, k, v, keyBegin, in shape);
    }

    public void AttentionBackward(
        Tensor dq, Tensor dk, Tensor dv, Tensor dout, Tensor q, Tensor k, Tensor v, Tensor o, Tensor lse, Tensor keyBegin,
        in AttentionShape shape, in Workspace workspace)
    {
        if (q.Rows == 0) return;
        if (IsBf16(q.DType, "attention backward")) AttentionGradients<ushort, Bf16Element>(dq, dk, dv, dout, q, k, v, o, lse, keyBegin, in shape, in workspace);
        else AttentionGradients<float, F32Element>(dq, dk, dv, dout, q, k, v, o, lse, keyBegin, in shape, in workspace);
    }

    /// <summary>Backward keeps dout · o of every query row and head.</summary>
    public long AttentionWorkspaceBytes(DType dtype, long queryRows, long keyRows, in AttentionShape shape, bool backward) =>
        backward ? checked(queryRows * shape.Heads * sizeof(float)) : 0;

    private void ConvertFrom<TFrom, TFromElement>(Tensor y, Tensor x, long count)
        where TFrom : unmanaged
        where TFromElement : struct, IElement<TFrom>
    {
        switch (y.DType)
        {
            case DType.F32: Convert<TFrom, TFromElement, float, F32Element>(y, x, count); break;
            case DType.BF16: Convert<TFrom, TFromElement, ushort, Bf16Element>(y, x, count); break;
            case DType.F16: Convert<TFrom, TFromElement, ushort, F16Element>(y, x, count); break;
            default: throw Unsupported($"conversion to {y.DType}");
        }
    }

    private void Convert<TFrom, TFromElement, TTo, TToElement>(Tensor y, Tensor x, long count)
        where TFrom : unmanaged
        where TFromElement : struct, IElement<TFrom>
        where TTo : unmanaged
        where TToElement : struct, IElement<TTo> =>
        _kernels.Run(ElementwiseKernels.Convert<TFrom, TFromElement, TTo, TToElement>, Elements(count), new ConvertArguments<TFrom, TTo>
        {
            X = View<TFrom>(x, count), Y = View<TTo>(y, count), Count = count,
        });

    private void EmbeddingInto<T, TElement>(Tensor y, Tensor ids, WeightMatrix weight)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        if (weight.Format == WeightFormat.F32) EmbeddingFrom<float, F32Element, T, TElement>(y, ids, weight);
        else if (weight.Format == WeightFormat.BF16) EmbeddingFrom<ushort, Bf16Element, T, TElement>(y, ids, weight);
        else throw Unsupported($"embedding of {weight.Format} weights");
    }

    private void EmbeddingFrom<TWeight, TWeightElement, T, TElement>(Tensor y, Tensor ids, WeightMatrix weight)
        where TWeight : unmanaged
        where TWeightElement : struct, IElement<TWeight>
        where T : unmanaged
        where TElement : struct, IElement<T> =>
        _kernels.Run(ElementwiseKernels.EmbeddingForward<TWeight, TWeightElement, T, TElement>, Matrix(y.Rows, weight.Columns), new EmbeddingArguments<TWeight, T>
        {
            Y = View<T>(y with { Columns = weight.Columns }), Ids = View<int>(ids, y.Rows), Weight = View<TWeight>(weight.Data), Faults = _faults.View.AsContiguous(),
            YStride = y.RowStride, WeightStride = weight.Data.RowStride, Rows = (int)y.Rows, Columns = (int)weight.Columns, VocabSize = (int)weight.Rows,
        });

    private void EmbeddingGradient<T, TElement>(Tensor dweight, Tensor dy, Tensor ids)
        where T : unmanaged
        where TElement : struct, IElement<T> =>
        _kernels.Run(ElementwiseKernels.EmbeddingBackward<T, TElement>, Elements(dweight.Columns), new EmbeddingArguments<float, T>
        {
            Y = View<T>(dy), Ids = View<int>(ids, dy.Rows), Weight = View<float>(dweight), Faults = _faults.View.AsContiguous(), YStride = dy.RowStride,
            WeightStride = dweight.RowStride, Rows = (int)dy.Rows, Columns = (int)dweight.Columns, VocabSize = (int)dweight.Rows,
        });

    private void NormForward<T, TElement>(Tensor y, Tensor sum, Tensor rstd, Tensor x, Tensor residual, Tensor weight, long heads, float eps)
        where T : unmanaged
        where TElement : struct, IElement<T> =>
        _kernels.Run(NormKernels.Forward<T, TElement>, Groups(x.Rows * heads, GroupThreads), Norm<T>(x, heads, rstd, weight, eps) with
        {
            Y = View<T>(y), YStride = y.RowStride, Residual = View<T>(residual), ResidualStride = residual.RowStride, HasResidual = Flag(residual),
            Sum = View<T>(sum), Dx = View<T>(default), Dweight = View<float>(default),
        });

    private void NormBackward<T, TElement>(Tensor dx, Tensor dweight, Tensor dy, Tensor dsum, Tensor x, Tensor rstd, Tensor weight, long heads, float eps)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        NormArguments<T> p = Norm<T>(x, heads, rstd, weight, eps) with
        {
            Y = View<T>(dy), YStride = dy.RowStride, Residual = View<T>(dsum), ResidualStride = dsum.RowStride, HasResidual = Flag(dsum),
            Sum = View<T>(default), Dx = View<T>(dx), DxStride = dx.RowStride, Dweight = View<float>(dweight, x.Columns / heads),
        };
        // dx may lie over dy, which the weight's gradient still reads.
        if (!dweight.IsNone) _kernels.Run(NormKernels.WeightGradient<T, TElement>, Elements(p.Width), p);
        _kernels.Run(NormKernels.Backward<T, TElement>, Groups(x.Rows * heads, GroupThreads), p);
    }

    private NormArguments<T> Norm<T>(Tensor x, long heads, Tensor rstd, Tensor weight, float eps)
        where T : unmanaged => new()
    {
        X = View<T>(x), XStride = x.RowStride, Rstd = View<float>(rstd, x.Rows * heads), HasRstd = Flag(rstd), Weight = View<float>(weight, x.Columns / heads),
        Rows = checked((int)x.Rows), Heads = (int)heads, Width = checked((int)(x.Columns / heads)), Eps = eps,
    };

    private void Rope(Tensor x, Tensor positions, Tensor cos, Tensor sin, int headDim, float direction)
    {
        if (x.Rows == 0) return;
        if (IsBf16(x.DType, "RoPE")) Rope<ushort, Bf16Element>(x, positions, cos, sin, headDim, direction);
        else Rope<float, F32Element>(x, positions, cos, sin, headDim, direction);
        _mayHaveFaults = true;
    }

    private void Rope<T, TElement>(Tensor x, Tensor positions, Tensor cos, Tensor sin, int headDim, float direction)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        long heads = x.Columns / headDim, half = cos.Columns;
        if (2 * half > headDim) throw Invalid($"RoPE turns {2 * half} features of a head, expected at most its {headDim}");
        _kernels.Run(ElementwiseKernels.Rope<T, TElement>, Matrix(x.Rows, heads * half), new RopeArguments<T>
        {
            X = View<T>(x), Positions = View<int>(positions, x.Rows), Cos = View<float>(cos, cos.Rows * half), Sin = View<float>(sin, cos.Rows * half),
            Faults = _faults.View.AsContiguous(), RowStride = x.RowStride, Heads = (int)heads, HeadDim = headDim, Half = (int)half, TableRows = (int)cos.Rows,
            Direction = direction,
        });
    }

    private void Swiglu<T>(Action<SwigluArguments<T>> kernel, Tensor y, Tensor gate, Tensor up, Tensor dgate, Tensor dup)
        where T : unmanaged =>
        _kernels.Run(kernel, Matrix(gate.Rows, gate.Columns), new SwigluArguments<T>
        {
            Y = View<T>(y with { Columns = gate.Columns }), Gate = View<T>(gate), Up = View<T>(up with { Columns = gate.Columns }), Dgate = View<T>(dgate),
            Dup = View<T>(dup), YStride = y.RowStride, GateStride = gate.RowStride, DgateStride = dgate.RowStride, Columns = checked((int)gate.Columns),
        });

    private void Attend<T, TElement>(Tensor o, Tensor lse, Tensor q, Tensor k, Tensor v, Tensor keyBegin, in AttentionShape shape)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        AttentionArguments<T> p = Attention<T>(o, lse, q, k, v, keyBegin, in shape);
        if (_narrow) _kernels.Run(AttentionKernels.Forward<T, TElement, Narrow>, AttentionTiles<Narrow>(q.Rows, shape.Heads, 1), p);
        else _kernels.Run(AttentionKernels.Forward<T, TElement, Wide>, AttentionTiles<Wide>(q.Rows, shape.Heads, 1), p);
    }

    private void AttentionGradients<T, TElement>(
        Tensor dq, Tensor dk, Tensor dv, Tensor dout, Tensor q, Tensor k, Tensor v, Tensor o, Tensor lse, Tensor keyBegin,
        in AttentionShape shape, in Workspace workspace)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        long deltas = q.Rows * shape.Heads;
        if (deltas * sizeof(float) > workspace.Bytes) throw Invalid($"attention backward: the workspace has {workspace.Bytes} bytes, expected {deltas * sizeof(float)}");
        AttentionArguments<T> p = Attention<T>(o, lse, q, k, v, keyBegin, in shape) with
        {
            Dout = View<T>(dout), DoutStride = dout.RowStride, Dq = View<T>(dq), DqStride = dq.RowStride, Dk = View<T>(dk), DkStride = dk.RowStride,
            Dv = View<T>(dv), DvStride = dv.RowStride, Delta = View<float>(workspace.Memory, deltas),
        };
        _kernels.Run(AttentionKernels.Deltas<T, TElement>, Elements(deltas), p);
        if (_narrow) AttentionGradients<T, TElement, Narrow>(p, shape.KeyValueHeads);
        else AttentionGradients<T, TElement, Wide>(p, shape.KeyValueHeads);
    }

    private void AttentionGradients<T, TElement, TSide>(AttentionArguments<T> p, int keyValueHeads)
        where T : unmanaged
        where TElement : struct, IElement<T>
        where TSide : struct, ISide
    {
        int slices = (p.HeadDim + AttentionKernels.KeySlice - 1) / AttentionKernels.KeySlice;
        _kernels.Run(AttentionKernels.QueryGradient<T, TElement, TSide>, AttentionTiles<TSide>(p.QueryRows, p.Heads, 1), p);
        _kernels.Run(AttentionKernels.KeyGradient<T, TElement, TSide>, AttentionTiles<TSide>(p.KeyRows, keyValueHeads, slices), p);
    }

    private AttentionArguments<T> Attention<T>(Tensor o, Tensor lse, Tensor q, Tensor k, Tensor v, Tensor keyBegin, in AttentionShape shape)
        where T : unmanaged
    {
        if (shape.HeadDim is < 1 or > AttentionKernels.MaxHeadDim) throw Unsupported($"attention with a head dim of {shape.HeadDim}, only 1 to {AttentionKernels.MaxHeadDim}");
        if (shape.KeyValueHeads < 1 || shape.Heads % shape.KeyValueHeads != 0)
            throw Invalid($"attention has {shape.Heads} heads, expected a multiple of its {shape.KeyValueHeads} key-value heads");
        if (shape.FirstQuery < 0 || shape.FirstQuery + q.Rows > k.Rows)
            throw Invalid($"queries {shape.FirstQuery} to {shape.FirstQuery + q.Rows} have {k.Rows} keys, expected as many or more");
        ArrayView<T> none = View<T>(default);
        return new AttentionArguments<T>
        {
            Q = View<T>(q), QStride = q.RowStride, K = View<T>(k), KStride = k.RowStride, V = View<T>(v), VStride = v.RowStride, O = View<T>(o), OStride = o.RowStride,
            Lse = View<float>(lse, q.Rows * shape.Heads), HasLse = Flag(lse), KeyBegin = View<int>(keyBegin, q.Rows), HasKeyBegin = Flag(keyBegin),
            Dout = none, Dq = none, Dk = none, Dv = none, Delta = View<float>(default), QueryRows = checked((int)q.Rows), KeyRows = checked((int)k.Rows),
            FirstQuery = (int)shape.FirstQuery, Heads = shape.Heads, HeadsPerKey = shape.Heads / shape.KeyValueHeads, HeadDim = shape.HeadDim, Scale = shape.Scale,
        };
    }

    private static KernelConfig AttentionTiles<TSide>(long rows, int heads, int slices)
        where TSide : struct, ISide
    {
        int side = default(TSide).Threads;
        return new KernelConfig(new Index3D((int)((rows + side - 1) / side), heads, slices), new Index3D(side, side, 1));
    }

    /// <summary>Two matrices for which the contract has one stride.</summary>
    private static void SameStride(Tensor a, Tensor b)
    {
        if (a.RowStride != b.RowStride) throw new ArgumentException($"row strides of {a.RowStride} and {b.RowStride}, expected the same for both");
    }
}
