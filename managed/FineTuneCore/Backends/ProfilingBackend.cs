using System.Diagnostics;
using FineTuneCore.Tensors;

namespace FineTuneCore.Backends;

/// <summary>
/// A backend that passes everything on and notes what each op took: time, arithmetic, bytes. It waits for the device around every op, so that the
/// times are the ops' own, and records no graphs. The numbers an op computes are the inner backend's.
/// </summary>
internal sealed class ProfilingBackend(IBackend inner) : IBackend
{
    private readonly OpProfile _profile = new();
    private int[] _keyBegin = [];

    /// <summary>What the ops took while <see cref="IsRecording"/>.</summary>
    internal OpProfile Profile => _profile;

    internal bool IsRecording { get; set; }

    public DeviceInfo Info => inner.Info;

    public long MemoryPeak => inner.MemoryPeak;

    public void LimitBuffers(long bytes) => inner.LimitBuffers(bytes);

    public double? MeasurePeak(DType dtype) => inner.MeasurePeak(dtype);

    public bool HasBackground => inner.HasBackground;

    public bool ReadsHostMemory => inner.ReadsHostMemory;

    public bool CapturesGraphs => false;

    public DeviceBuffer Allocate(long sizeBytes, string purpose) => inner.Allocate(sizeBytes, purpose);

    public DeviceBuffer AllocateHost(long sizeBytes, string purpose) => inner.AllocateHost(sizeBytes, purpose);

    public IBackgroundStream Background(BackgroundWork work, int sharePercent = 100) => inner.Background(work, sharePercent);

    public DeviceEvent CreateEvent() => inner.CreateEvent();

    public void Record(DeviceEvent point) => inner.Record(point);

    public void Wait(DeviceEvent point) => inner.Wait(point);

    public DeviceBuffer? TryBorrow(nint data, long sizeBytes) => inner.TryBorrow(data, sizeBytes);

    public void Synchronize() => inner.Synchronize();

    public void BeginCapture() => throw new InvalidOperationException("a profiled backend records no graphs");

    public DeviceGraph EndCapture() => throw new InvalidOperationException("a profiled backend records no graphs");

    public void Launch(DeviceGraph graph) => throw new InvalidOperationException("a profiled backend records no graphs");

    public long AttentionWorkspaceBytes(DType dtype, long queryRows, long keyRows, in AttentionShape shape, bool backward) =>
        inner.AttentionWorkspaceBytes(dtype, queryRows, keyRows, in shape, backward);

    public long LinearWorkspaceBytes(DType dtype, WeightFormat format, int border, long rows, long inFeatures, long outFeatures, long rank) =>
        inner.LinearWorkspaceBytes(dtype, format, border, rows, inFeatures, outFeatures, rank);

    public LinearStrides LinearStrides(DType dtype, long inFeatures, long outFeatures, long rank) => inner.LinearStrides(dtype, inFeatures, outFeatures, rank);

    public long LinearCrossEntropyWorkspaceBytes(DType dtype, WeightFormat format, long rows, long hiddenSize, long vocabSize) =>
        inner.LinearCrossEntropyWorkspaceBytes(dtype, format, rows, hiddenSize, vocabSize);

    public long TunePackedRows(long packedRows) => inner.TunePackedRows(packedRows);

    public UpdateNumbers AdamWNumbers(in AdamWArguments arguments) => inner.AdamWNumbers(in arguments);

    public void Upload<T>(Tensor destination, ReadOnlySpan<T> source)
        where T : unmanaged
    {
        long begin = Begin();
        inner.Upload(destination, source);
        End(begin, "upload", Bytes(destination));
    }

    public void Download<T>(Span<T> destination, Tensor source)
        where T : unmanaged
    {
        long begin = Begin();
        inner.Download(destination, source);
        End(begin, "download", Bytes(source));
    }

    public void Zero(Tensor contiguous)
    {
        long begin = Begin();
        inner.Zero(contiguous);
        End(begin, "zero", Bytes(contiguous));
    }

    public void Copy(Tensor destination, Tensor contiguous)
    {
        long begin = Begin();
        inner.Copy(destination, contiguous);
        End(begin, "copy", 2 * Bytes(contiguous));
    }

    public void Convert(Tensor y, Tensor x, long count)
    {
        long begin = Begin();
        inner.Convert(y, x, count);
        End(begin, "convert", count * (y.DType.Size() + x.DType.Size()));
    }

    public void Nf4Quantize(Tensor codes, Tensor absmax, Tensor x, long count)
    {
        long begin = Begin();
        inner.Nf4Quantize(codes, absmax, x, count);
        End(begin, "nf4 quantize", Bytes(codes, absmax, x));
    }

    public void Nf4QuantizeAbsmax(Tensor codes, Tensor nestedAbsmax, Tensor nestedOffset, Tensor absmax, Tensor nestedMap, long count)
    {
        long begin = Begin();
        inner.Nf4QuantizeAbsmax(codes, nestedAbsmax, nestedOffset, absmax, nestedMap, count);
        End(begin, "nf4 quantize absmax", Bytes(codes, nestedAbsmax, absmax));
    }

    public void Int8Quantize(WeightMatrix destination, Tensor x)
    {
        long begin = Begin();
        inner.Int8Quantize(destination, x);
        End(begin, "int8 quantize", destination.ByteCount + Bytes(x));
    }

    public void AffineQuantize(WeightMatrix destination, Tensor x, bool search)
    {
        long begin = Begin();
        inner.AffineQuantize(destination, x, search);
        End(begin, "affine quantize", destination.ByteCount + Bytes(x));
    }

    public void AffineMerge(WeightMatrix weight, Tensor b, Tensor a, float scaling)
    {
        long begin = Begin();
        inner.AffineMerge(weight, b, a, scaling);
        End(begin, "affine merge", Bytes(weight.Minimum, weight.Minimum, a, b));
    }

    public void Dequantize(Tensor y, WeightMatrix weight, long rowBegin, long rowCount)
    {
        long begin = Begin();
        inner.Dequantize(y, weight, rowBegin, rowCount);
        End(begin, "dequantize", weight.ByteCount * rowCount / weight.Rows + rowCount * weight.Columns * y.DType.Size());
    }

    public void EmbeddingForward(Tensor y, Tensor ids, WeightMatrix weight)
    {
        long begin = Begin();
        inner.EmbeddingForward(y, ids, weight);
        End(begin, "embedding forward", 2 * Bytes(y));
    }

    public void EmbeddingBackward(Tensor dweight, Tensor dy, Tensor ids)
    {
        long begin = Begin();
        inner.EmbeddingBackward(dweight, dy, ids);
        End(begin, "embedding backward", Bytes(dy, dy, dy));
    }

    public void RmsNormForward(Tensor y, Tensor sum, Tensor rstd, Tensor x, Tensor residual, Tensor weight, long heads, float eps)
    {
        long begin = Begin();
        inner.RmsNormForward(y, sum, rstd, x, residual, weight, heads, eps);
        End(begin, "norm forward", Bytes(y, sum, x, residual));
    }

    public void RmsNormBackward(Tensor dx, Tensor dweight, Tensor dy, Tensor dsum, Tensor x, Tensor rstd, Tensor weight, long heads, float eps)
    {
        long begin = Begin();
        inner.RmsNormBackward(dx, dweight, dy, dsum, x, rstd, weight, heads, eps);
        End(begin, "norm backward", Bytes(dx, dy, dsum, x));
    }

    public void RopeForward(Tensor x, Tensor positions, Tensor cos, Tensor sin, int headDim)
    {
        long begin = Begin();
        inner.RopeForward(x, positions, cos, sin, headDim);
        End(begin, "rope", Bytes(x, x));
    }

    public void RopeBackward(Tensor dx, Tensor positions, Tensor cos, Tensor sin, int headDim)
    {
        long begin = Begin();
        inner.RopeBackward(dx, positions, cos, sin, headDim);
        End(begin, "rope", Bytes(dx, dx));
    }

    public void AttentionForward(Tensor o, Tensor lse, Tensor q, Tensor k, Tensor v, Tensor keyBegin, in AttentionShape shape, in Workspace workspace)
    {
        double pairs = Pairs(q.Rows, keyBegin, shape.FirstQuery);
        long begin = Begin();
        inner.AttentionForward(o, lse, q, k, v, keyBegin, in shape, in workspace);
        End(begin, "attention forward", Bytes(o, q, k, v), 4 * pairs * shape.Heads * shape.HeadDim); // q kT and p v
    }

    public void AttentionBackward(
        Tensor dq, Tensor dk, Tensor dv, Tensor dout, Tensor q, Tensor k, Tensor v, Tensor o, Tensor lse, Tensor keyBegin,
        in AttentionShape shape, in Workspace workspace)
    {
        double pairs = Pairs(q.Rows, keyBegin, shape.FirstQuery);
        long begin = Begin();
        inner.AttentionBackward(dq, dk, dv, dout, q, k, v, o, lse, keyBegin, in shape, in workspace);
        long bytes = Bytes(dq, dk, dv, dout) + Bytes(q, k, v, o);
        End(begin, "attention backward", bytes, 10 * pairs * shape.Heads * shape.HeadDim); // q kT again, and four gradients
    }

    public void SwigluForward(Tensor y, Tensor gate, Tensor up)
    {
        long begin = Begin();
        inner.SwigluForward(y, gate, up);
        End(begin, "swiglu forward", Bytes(y, gate, up));
    }

    public void SwigluBackward(Tensor dgate, Tensor dup, Tensor dy, Tensor gate, Tensor up)
    {
        long begin = Begin();
        inner.SwigluBackward(dgate, dup, dy, gate, up);
        End(begin, "swiglu backward", Bytes(dgate, dup, dy, gate, up));
    }

    public void LinearForward(
        Tensor y, Tensor x, WeightMatrix weight, Tensor bias, ReadOnlySpan<LoraSegmentArguments> segments, in DropoutRows dropout,
        bool accumulate, in Workspace workspace)
    {
        double operations = 2.0 * x.Rows * weight.Rows * weight.Columns;
        foreach (LoraSegmentArguments s in segments) operations += 2.0 * (s.RowEnd - s.RowBegin) * s.Rank * (s.A.Columns + weight.Rows);
        long begin = Begin();
        inner.LinearForward(y, x, weight, bias, segments, in dropout, accumulate, in workspace);
        End(begin, "linear forward", weight.ByteCount + Bytes(y, x), operations, weight.Columns, weight.Rows);
    }

    public void LinearBackward(
        Tensor dx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x, WeightMatrix weight, ReadOnlySpan<LoraSegmentArguments> segments,
        in DropoutRows dropout, bool accumulate, in Workspace workspace)
    {
        double product = 2.0 * dy.Rows * weight.Rows * weight.Columns;
        double operations = (dx.IsNone ? 0 : product) + (dweight.IsNone ? 0 : product);
        foreach (LoraSegmentArguments s in segments)
        {
            double unit = 2.0 * (s.RowEnd - s.RowBegin) * s.Rank;
            bool ds = !dx.IsNone || !s.Da.IsNone;
            operations += unit * ((ds ? weight.Rows : 0) + (dx.IsNone ? 0 : s.A.Columns) + (s.Da.IsNone ? 0 : s.A.Columns) + (s.Db.IsNone ? 0 : weight.Rows));
        }

        long begin = Begin();
        inner.LinearBackward(dx, dweight, dbias, dy, x, weight, segments, in dropout, accumulate, in workspace);
        End(begin, "linear backward", weight.ByteCount + Bytes(dx, dy, x), operations, weight.Columns, weight.Rows);
    }

    public void LinearCrossEntropy(
        Tensor nll, Tensor predictions, Tensor dx, Tensor dweight, Tensor x, WeightMatrix weight, Tensor targets, int trainedRows,
        float gradientScale, Tensor stepNumbers, in Workspace workspace)
    {
        double operations = 2.0 * trainedRows * weight.Rows * weight.Columns * (1 + (dx.IsNone ? 0 : 1) + (dweight.IsNone ? 0 : 1));
        long begin = Begin();
        inner.LinearCrossEntropy(nll, predictions, dx, dweight, x, weight, targets, trainedRows, gradientScale, stepNumbers, in workspace);
        End(begin, "cross-entropy", weight.ByteCount + Bytes(dx, x), operations, weight.Columns, weight.Rows);
    }

    public void AdamWStep(Tensor parameter, Tensor m, Tensor v, Tensor gradient, in AdamWArguments arguments)
    {
        long begin = Begin();
        inner.AdamWStep(parameter, m, v, gradient, in arguments);
        End(begin, "adamw", 2 * Bytes(parameter, m, v) + Bytes(gradient));
    }

    public void AdamW8BitStep(
        Tensor parameter, Tensor mCodes, Tensor vCodes, Tensor mAbsmax, Tensor vAbsmax, Tensor gradient, Tensor mMap, Tensor vMap, in AdamWArguments arguments)
    {
        long begin = Begin();
        inner.AdamW8BitStep(parameter, mCodes, vCodes, mAbsmax, vAbsmax, gradient, mMap, vMap, in arguments);
        End(begin, "adamw 8-bit", 2 * Bytes(parameter, mCodes, vCodes) + Bytes(gradient));
    }

    public void SgdStep(Tensor parameter, Tensor velocity, Tensor gradient, in SgdArguments arguments)
    {
        long begin = Begin();
        inner.SgdStep(parameter, velocity, gradient, in arguments);
        End(begin, "sgd", 2 * Bytes(parameter, velocity) + Bytes(gradient));
    }

    public void ClipGradients(Tensor stepNumbers, Tensor sum, Tensor nll, float clipNorm)
    {
        long begin = Begin();
        inner.ClipGradients(stepNumbers, sum, nll, clipNorm);
        End(begin, "clip", Bytes(nll));
    }

    public void SumOfSquares(Tensor sum, Tensor x)
    {
        long begin = Begin();
        inner.SumOfSquares(sum, x);
        End(begin, "sum of squares", Bytes(x));
    }

    /// <summary>The inner backend is its owner's.</summary>
    public void Dispose()
    {
    }

    private static long Bytes(params ReadOnlySpan<Tensor> tensors)
    {
        long bytes = 0;
        foreach (Tensor t in tensors) bytes += t.IsNone ? 0 : t.Rows * t.Columns * t.DType.Size();
        return bytes;
    }

    /// <summary>Pairs of a query and a key that it sees.</summary>
    private double Pairs(long queries, Tensor keyBegin, long firstQuery)
    {
        double pairs = queries * (queries + 1) / 2.0 + queries * firstQuery;
        if (keyBegin.IsNone) return pairs;
        if (_keyBegin.Length < queries) _keyBegin = new int[queries];
        Span<int> begins = _keyBegin.AsSpan(0, (int)queries);
        inner.Download(begins, keyBegin);
        foreach (int first in begins) pairs -= first;
        return pairs;
    }

    private long Begin()
    {
        inner.Synchronize();
        return Stopwatch.GetTimestamp();
    }

    private void End(long begin, string op, long bytes, double operations = 0, long inFeatures = 0, long outFeatures = 0)
    {
        inner.Synchronize();
        if (IsRecording) _profile.Add(new ProfileKey(op, inFeatures, outFeatures), Stopwatch.GetTimestamp() - begin, operations, bytes);
    }
}
