using FineTuneCore.Native;
using FineTuneCore.Tensors;

namespace FineTuneCore.Backends;

/// <summary>Ops of <see cref="NativeBackend"/>: each fills the header's params struct and makes one call.</summary>
internal sealed unsafe partial class NativeBackend
{
    public void Convert(Tensor y, Tensor x, long count) =>
        NativeMethods.ftc_convert(_stream, Address(y), (int)y.DType, Address(x), (int)x.DType, count).ThrowIfFailed();

    public void Nf4Quantize(Tensor codes, Tensor absmax, Tensor x, long count) =>
        NativeMethods.ftc_nf4_quantize(_stream, Address(codes), Address(absmax), Address(x), count).ThrowIfFailed();

    public void Nf4QuantizeAbsmax(Tensor codes, Tensor nestedAbsmax, Tensor nestedOffset, Tensor absmax, Tensor nestedMap, long count) =>
        NativeMethods.ftc_nf4_quantize_absmax(
            _stream, Address(codes), Address(nestedAbsmax), Address(nestedOffset), Address(absmax), Address(nestedMap), count).ThrowIfFailed();

    public void Int8Quantize(WeightMatrix destination, Tensor x) =>
        NativeMethods.ftc_int8_quantize(
            _stream, Address(destination.Data), Address(destination.Scale), Address(x), x.Rows, x.Columns, x.RowStride).ThrowIfFailed();

    public void AffineQuantize(WeightMatrix destination, Tensor x, bool search)
    {
        var p = new AffineQuantizeParams
        {
            StructSize = (uint)sizeof(AffineQuantizeParams), Bits = destination.Bits, Rows = x.Rows, Cols = x.Columns, XRowStride = x.RowStride,
            GroupSize = destination.GroupSize, Search = search ? 1 : 0,
        };
        NativeMethods.ftc_affine_quantize(
            _stream, Address(destination.Data), Address(destination.Scale), Address(destination.Minimum), Address(x), in p).ThrowIfFailed();
    }

    public void AffineMerge(WeightMatrix weight, Tensor b, Tensor a, float scaling) =>
        NativeMethods.ftc_affine_merge(
            _stream, Address(weight.Minimum), Address(b), Address(a), weight.Rows, weight.Columns / weight.GroupSize, (int)a.Rows, weight.GroupSize,
            scaling).ThrowIfFailed();

    public void Dequantize(Tensor y, WeightMatrix weight, long rowBegin, long rowCount)
    {
        Weight native = Native(weight);
        NativeMethods.ftc_weight_dequantize(_stream, Address(y), (int)y.DType, y.RowStride, in native, rowBegin, rowCount).ThrowIfFailed();
    }

    public void EmbeddingForward(Tensor y, Tensor ids, WeightMatrix weight)
    {
        Weight native = Native(weight);
        var p = new EmbeddingParams { StructSize = (uint)sizeof(EmbeddingParams), Dtype = (int)y.DType, Rows = y.Rows, YRowStride = y.RowStride };
        NativeMethods.ftc_embedding_forward(_stream, Address(y), Address(ids), in native, in p).ThrowIfFailed();
    }

    public void EmbeddingBackward(Tensor dweight, Tensor dy, Tensor ids)
    {
        var p = new EmbeddingParams
        {
            StructSize = (uint)sizeof(EmbeddingParams), Dtype = (int)dy.DType, Rows = dy.Rows, YRowStride = dy.RowStride,
            DweightRowStride = dweight.RowStride,
        };
        NativeMethods.ftc_embedding_backward(_stream, Address(dweight), Address(dy), Address(ids), dweight.Rows, dweight.Columns, in p).ThrowIfFailed();
    }

    public void RmsNormForward(Tensor y, Tensor sum, Tensor rstd, Tensor x, Tensor residual, Tensor weight, long heads, float eps)
    {
        if (!sum.IsNone) SameStride(x, sum);
        var p = new RmsNormParams
        {
            StructSize = (uint)sizeof(RmsNormParams), Dtype = (int)x.DType, Rows = x.Rows, Heads = heads, HiddenSize = x.Columns / heads,
            XRowStride = x.RowStride, YRowStride = y.RowStride, ResidualRowStride = residual.RowStride, Eps = eps,
        };
        NativeMethods.ftc_rms_norm_forward(
            _stream, Address(y), Address(sum), Address(rstd), Address(x), Address(residual), Address(weight), in p).ThrowIfFailed();
    }

    public void RmsNormBackward(
        Tensor dx, Tensor dweight, Tensor dy, Tensor dsum, Tensor x, Tensor rstd, Tensor weight, long heads, float eps)
    {
        var p = new RmsNormParams
        {
            StructSize = (uint)sizeof(RmsNormParams), Dtype = (int)x.DType, Rows = x.Rows, Heads = heads, HiddenSize = x.Columns / heads,
            XRowStride = x.RowStride, YRowStride = dy.RowStride, ResidualRowStride = dsum.RowStride, DxRowStride = dx.RowStride, Eps = eps,
        };
        NativeMethods.ftc_rms_norm_backward(
            _stream, Address(dx), Address(dweight), Address(dy), Address(dsum), Address(x), Address(rstd), Address(weight), in p).ThrowIfFailed();
    }

    public void RopeForward(Tensor x, Tensor positions, Tensor cos, Tensor sin, int headDim)
    {
        RopeParams p = Rope(x, cos, headDim);
        NativeMethods.ftc_rope_forward(_stream, Address(x), Address(positions), Address(cos), Address(sin), in p).ThrowIfFailed();
    }

    public void RopeBackward(Tensor dx, Tensor positions, Tensor cos, Tensor sin, int headDim)
    {
        RopeParams p = Rope(dx, cos, headDim);
        NativeMethods.ftc_rope_backward(_stream, Address(dx), Address(positions), Address(cos), Address(sin), in p).ThrowIfFailed();
    }

    public void AttentionForward(
        Tensor o, Tensor lse, Tensor q, Tensor k, Tensor v, Tensor keyBegin, in AttentionShape shape, in Workspace workspace)
    {
        AttentionParams p = Attention(q.DType, q.Rows, k.Rows, in shape);
        (p.QRowStride, p.KRowStride, p.VRowStride, p.ORowStride) = (q.RowStride, k.RowStride, v.RowStride, o.RowStride);
        NativeMethods.ftc_attention_forward(
            _stream, Address(o), Address(lse), Address(q), Address(k), Address(v), Address(keyBegin), in p, Address(workspace.Memory),
            workspace.Bytes).ThrowIfFailed();
    }

    public void AttentionBackward(
        Tensor dq, Tensor dk, Tensor dv, Tensor dout, Tensor q, Tensor k, Tensor v, Tensor o, Tensor lse, Tensor keyBegin,
        in AttentionShape shape, in Workspace workspace)
    {
        AttentionParams p = Attention(q.DType, q.Rows, k.Rows, in shape);
        (p.QRowStride, p.KRowStride, p.VRowStride, p.ORowStride) = (q.RowStride, k.RowStride, v.RowStride, o.RowStride);
        (p.DqRowStride, p.DkRowStride, p.DvRowStride, p.DoRowStride) = (dq.RowStride, dk.RowStride, dv.RowStride, dout.RowStride);
        NativeMethods.ftc_attention_backward(
            _stream, Address(dq), Address(dk), Address(dv), Address(dout), Address(q), Address(k), Address(v), Address(o), Address(lse),
            Address(keyBegin), in p, Address(workspace.Memory), workspace.Bytes).ThrowIfFailed();
    }

    public long AttentionWorkspaceBytes(DType dtype, long queryRows, long keyRows, in AttentionShape shape, bool backward)
    {
        AttentionParams p = Attention(dtype, queryRows, keyRows, in shape);
        p.FirstQuery = keyRows - queryRows;
        (p.QRowStride, p.ORowStride, p.DqRowStride, p.DoRowStride) = Same(shape.Heads * shape.HeadDim);
        (p.KRowStride, p.VRowStride, p.DkRowStride, p.DvRowStride) = Same(shape.KeyValueHeads * shape.HeadDim);
        NativeMethods.ftc_attention_workspace_bytes(_context, in p, backward ? 1 : 0, out long bytes).ThrowIfFailed();
        return bytes;
    }

    public void SwigluForward(Tensor y, Tensor gate, Tensor up)
    {
        SameStride(gate, up);
        var p = new SwigluParams
        {
            StructSize = (uint)sizeof(SwigluParams), Dtype = (int)y.DType, Rows = gate.Rows, Cols = gate.Columns,
            GateRowStride = gate.RowStride, YRowStride = y.RowStride,
        };
        NativeMethods.ftc_swiglu_forward(_stream, Address(y), Address(gate), Address(up), in p).ThrowIfFailed();
    }

    public void SwigluBackward(Tensor dgate, Tensor dup, Tensor dy, Tensor gate, Tensor up)
    {
        SameStride(gate, up);
        SameStride(dgate, dup);
        var p = new SwigluParams
        {
            StructSize = (uint)sizeof(SwigluParams), Dtype = (int)dy.DType, Rows = gate.Rows, Cols = gate.Columns,
            GateRowStride = gate.RowStride, YRowStride = dy.RowStride, DgateRowStride = dgate.RowStride,
        };
        NativeMethods.ftc_swiglu_backward(_stream, Address(dgate), Address(dup), Address(dy), Address(gate), Address(up), in p).ThrowIfFailed();
    }

    public void AdamWStep(Tensor parameter, Tensor m, Tensor v, Tensor gradient, in AdamWArguments a)
    {
        AdamwParams p = AdamW(in a, parameter.Columns);
        NativeMethods.ftc_adamw_step(_stream, Address(parameter), Address(m), Address(v), Address(gradient), in p).ThrowIfFailed();
    }

    public void AdamW8BitStep(
        Tensor parameter, Tensor mCodes, Tensor vCodes, Tensor mAbsmax, Tensor vAbsmax, Tensor gradient, Tensor mMap, Tensor vMap, in AdamWArguments a)
    {
        AdamwParams p = AdamW(in a, parameter.Columns);
        NativeMethods.ftc_adamw_8bit_step(
            _stream, Address(parameter), Address(mCodes), Address(vCodes), Address(mAbsmax), Address(vAbsmax), Address(gradient), Address(mMap),
            Address(vMap), in p).ThrowIfFailed();
    }

    public void SgdStep(Tensor parameter, Tensor velocity, Tensor gradient, in SgdArguments a)
    {
        var p = new SgdParams
        {
            StructSize = (uint)sizeof(SgdParams), LearningRate = a.LearningRate, Momentum = a.Momentum, WeightDecay = a.WeightDecay,
            GradientScale = a.GradientScale, Count = parameter.Columns, StepValues = Address(a.StepNumbers), UpdateValues = Address(a.UpdateNumbers),
        };
        NativeMethods.ftc_sgd_step(_stream, Address(parameter), Address(velocity), Address(gradient), in p).ThrowIfFailed();
    }

    public UpdateNumbers AdamWNumbers(in AdamWArguments a)
    {
        AdamwParams p = AdamW(in a, count: 0);
        NativeMethods.ftc_adamw_get_update_values(out UpdateValues values, in p).ThrowIfFailed();
        return new UpdateNumbers(values.LearningRate, values.Decay, values.StepSize, values.VCorrection);
    }

    public void ClipGradients(Tensor stepNumbers, Tensor sum, Tensor nll, float clipNorm) =>
        NativeMethods.ftc_clip_gradients(_stream, Address(stepNumbers), Address(sum), Address(nll), nll.Columns, clipNorm).ThrowIfFailed();

    public void SumOfSquares(Tensor sum, Tensor x) =>
        NativeMethods.ftc_sum_of_squares(_stream, Address(sum), Address(x), x.Columns).ThrowIfFailed();

    private static AdamwParams AdamW(in AdamWArguments a, long count) => new()
    {
        StructSize = (uint)sizeof(AdamwParams), LearningRate = a.LearningRate, Beta1 = a.Beta1, Beta2 = a.Beta2, Eps = a.Eps,
        WeightDecay = a.WeightDecay, GradientScale = a.GradientScale, Step = a.Step, Count = count, StepValues = Address(a.StepNumbers),
        UpdateValues = Address(a.UpdateNumbers),
    };

    /// <summary>Two matrices for which the contract has one stride.</summary>
    private static void SameStride(Tensor a, Tensor b)
    {
        if (a.RowStride != b.RowStride) throw new ArgumentException($"row strides of {a.RowStride} and {b.RowStride}, expected the same for both");
    }

    private static RopeParams Rope(Tensor x, Tensor cos, int headDim) => new()
    {
        StructSize = (uint)sizeof(RopeParams), Dtype = (int)x.DType, Rows = x.Rows, Heads = x.Columns / headDim, HeadDim = headDim,
        RopeDim = cos.Columns * 2, RowStride = x.RowStride, TableRows = cos.Rows,
    };

    private static AttentionParams Attention(DType dtype, long queryRows, long keyRows, in AttentionShape shape) => new()
    {
        StructSize = (uint)sizeof(AttentionParams), Dtype = (int)dtype, QueryRows = queryRows, KeyRows = keyRows,
        FirstQuery = shape.FirstQuery, Heads = shape.Heads, KeyValueHeads = shape.KeyValueHeads, HeadDim = shape.HeadDim, Scale = shape.Scale,
    };

    private static (long, long, long, long) Same(long stride) => (stride, stride, stride, stride);
}
