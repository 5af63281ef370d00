using FineTuneCore.Native;
using FineTuneCore.Tensors;

namespace FineTuneCore.Backends;

/// <summary>The linear layer and the head of <see cref="NativeBackend"/>.</summary>
internal sealed unsafe partial class NativeBackend
{
    private const int MaxSegments = 64; // stack space for the segment list; more adapters at once are refused by name

    public void LinearForward(
        Tensor y, Tensor x, WeightMatrix weight, Tensor bias, ReadOnlySpan<LoraSegmentArguments> segments, in DropoutRows dropout,
        bool accumulate, in Workspace workspace)
    {
        Weight native = Native(weight);
        LoraSegment* list = stackalloc LoraSegment[Checked(segments.Length)];
        Fill(list, segments);
        LinearParams p = Linear(x.Rows, x.DType, in dropout, accumulate);
        (p.XRowStride, p.YRowStride, p.XBorder) = (x.RowStride, y.RowStride, x.Border);
        NativeMethods.ftc_linear_forward(
            _stream, Address(y), Address(x), in native, Address(bias), list, segments.Length, in p, Address(workspace.Memory),
            workspace.Bytes).ThrowIfFailed();
    }

    public void LinearBackward(
        Tensor dx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x, WeightMatrix weight, ReadOnlySpan<LoraSegmentArguments> segments,
        in DropoutRows dropout, bool accumulate, in Workspace workspace)
    {
        Weight native = Native(weight);
        LoraSegment* list = stackalloc LoraSegment[Checked(segments.Length)];
        Fill(list, segments);
        LinearParams p = Linear(dy.Rows, dy.DType, in dropout, accumulate);
        (p.XRowStride, p.DyRowStride, p.DxRowStride, p.DweightRowStride) = (x.RowStride, dy.RowStride, dx.RowStride, dweight.RowStride);
        p.DyBorder = dy.Border;
        NativeMethods.ftc_linear_backward(
            _stream, Address(dx), Address(dweight), Address(dbias), Address(dy), Address(x), in native, list, segments.Length, in p,
            Address(workspace.Memory), workspace.Bytes).ThrowIfFailed();
    }

    public long LinearWorkspaceBytes(
        DType dtype, WeightFormat format, int border, long rows, long inFeatures, long outFeatures, long rank)
    {
        var p = new LinearWorkspaceParams
        {
            StructSize = (uint)sizeof(LinearWorkspaceParams), Dtype = (int)dtype, WeightFormat = (int)format, Border = border, Rows = rows,
            InFeatures = inFeatures, OutFeatures = outFeatures, Rank = rank,
        };
        NativeMethods.ftc_linear_workspace_bytes(_context, in p, out long bytes).ThrowIfFailed();
        return bytes;
    }

    public LinearStrides LinearStrides(DType dtype, long inFeatures, long outFeatures, long rank)
    {
        var layout = new LinearLayout { StructSize = (uint)sizeof(LinearLayout) };
        NativeMethods.ftc_linear_get_layout(_context, inFeatures, outFeatures, rank, (int)dtype, ref layout).ThrowIfFailed();
        return new LinearStrides(layout.Border, layout.XRowStride, layout.YRowStride, layout.WeightRowStride);
    }

    public long TunePackedRows(long packedRows)
    {
        NativeMethods.ftc_linear_tune(_stream, ref packedRows).ThrowIfFailed();
        return packedRows;
    }

    public void LinearCrossEntropy(
        Tensor nll, Tensor predictions, Tensor dx, Tensor dweight, Tensor x, WeightMatrix weight, Tensor targets, int trainedRows,
        float gradientScale, Tensor stepNumbers, in Workspace workspace)
    {
        Weight native = Native(weight);
        var p = new CrossEntropyParams
        {
            StructSize = (uint)sizeof(CrossEntropyParams), Dtype = (int)x.DType, Rows = x.Rows, XRowStride = x.RowStride,
            DxRowStride = dx.RowStride, DweightRowStride = dweight.RowStride, GradientScale = gradientScale,
            TrainedRows = trainedRows, StepValues = Address(stepNumbers),
        };
        NativeMethods.ftc_linear_cross_entropy(
            _stream, Address(nll), Address(predictions), Address(dx), Address(dweight), Address(x), in native, Address(targets), in p,
            Address(workspace.Memory), workspace.Bytes).ThrowIfFailed();
    }

    public long LinearCrossEntropyWorkspaceBytes(DType dtype, WeightFormat format, long rows, long hiddenSize, long vocabSize)
    {
        var p = new CrossEntropyWorkspaceParams
        {
            StructSize = (uint)sizeof(CrossEntropyWorkspaceParams), Dtype = (int)dtype, WeightFormat = (int)format, Rows = rows,
            HiddenSize = hiddenSize, VocabSize = vocabSize,
        };
        NativeMethods.ftc_linear_cross_entropy_workspace_bytes(_context, in p, out long bytes).ThrowIfFailed();
        return bytes;
    }

    private static LinearParams Linear(long rows, DType dtype, in DropoutRows dropout, bool accumulate) => new()
    {
        StructSize = (uint)sizeof(LinearParams), Dtype = (int)dtype, Rows = rows, Accumulate = accumulate ? 1 : 0, DropoutStep = dropout.Step,
        DropoutSamples = Address(dropout.Samples), DropoutPositions = Address(dropout.Positions), StepValues = Address(dropout.StepNumbers),
    };

    private static void Fill(LoraSegment* list, ReadOnlySpan<LoraSegmentArguments> segments)
    {
        for (int i = 0; i < segments.Length; i++)
        {
            ref readonly LoraSegmentArguments s = ref segments[i];
            list[i] = new LoraSegment
            {
                StructSize = (uint)sizeof(LoraSegment), Rank = s.Rank, RowBegin = s.RowBegin, RowEnd = s.RowEnd, A = Address(s.A), B = Address(s.B),
                S = Address(s.S), Da = Address(s.Da), Db = Address(s.Db), Scaling = s.Scaling, DropoutProbability = s.DropoutProbability,
                DropoutSeed = s.DropoutSeed, Pool = s.Pool,
            };
        }
    }

    private static int Checked(int segments) => segments <= MaxSegments
        ? segments : throw new ArgumentOutOfRangeException(nameof(segments), $"{segments} adapter segments in one call, at most {MaxSegments} are supported");

    private static Weight Native(WeightMatrix w) => new()
    {
        StructSize = (uint)sizeof(Weight), Format = (int)w.Format, Rows = w.Rows, Cols = w.Columns, RowStride = w.Data.RowStride,
        Data = Address(w.Data), Absmax = Address(w.Absmax), NestedAbsmax = Address(w.NestedAbsmax), NestedMap = Address(w.NestedMap),
        QuantMap = Address(w.QuantMap), NestedOffset = w.NestedOffset, BlockSize = w.BlockSize, NestedBlockSize = w.NestedBlockSize,
        Border = w.Border, Bits = w.Bits, GroupSize = w.GroupSize, Scale = Address(w.Scale), Minimum = Address(w.Minimum),
    };
}
