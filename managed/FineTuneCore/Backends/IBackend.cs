using FineTuneCore.Tensors;

namespace FineTuneCore.Backends;

/// <summary>
/// The managed mirror of <c>ftc.h</c>: memory and ops of one device, spoken in buffer + byte offset + strides, never in addresses
/// (OpenCL has none to give). A backend that lacks an op says so by name; nothing falls back in silence. Shapes, formulas and
/// papers stand in the header. One backend serves one thread at a time.
/// </summary>
internal interface IBackend : IDisposable
{
    DeviceInfo Info { get; }

    /// <summary>The most bytes that buffers have taken together.</summary>
    long MemoryPeak { get; }

    /// <summary>From now on buffers together may take so many bytes.</summary>
    void LimitBuffers(long bytes);

    /// <summary>
    /// Multiply-adds a second, each counted as two operations, that the device reaches in registers on this type; null where nothing measures it.
    /// Takes a tenth of a second.
    /// </summary>
    double? MeasurePeak(DType dtype);

    /// <summary>A zeroed buffer; refused with numbers when it does not fit.</summary>
    DeviceBuffer Allocate(long sizeBytes, string purpose);

    /// <summary>
    /// Zeroed host memory that ops reach as well, pinned for a GPU: copies from and to it can run beside everything else. Whoever writes it from
    /// the host does so after the work that uses it.
    /// </summary>
    DeviceBuffer AllocateHost(long sizeBytes, string purpose);

    /// <summary>Whether a background stream runs beside this backend's own work: a GPU's does.</summary>
    bool HasBackground { get; }

    /// <summary>
    /// The stream for one kind of background work, the backend's own. It is made when it is first asked for; dequantisation in it then takes at
    /// most so much of the device.
    /// </summary>
    IBackgroundStream Background(BackgroundWork work, int sharePercent = 100);

    DeviceEvent CreateEvent();

    /// <summary>The event now stands for all that this backend was given so far.</summary>
    void Record(DeviceEvent point);

    /// <summary>What this backend is given from now on runs after what the event stands for.</summary>
    void Wait(DeviceEvent point);

    /// <summary>Whether ops read host memory where it lies, such as a mapped file.</summary>
    bool ReadsHostMemory { get; }

    /// <summary>A buffer over host memory that outlives it (a mapped file). Null where the device cannot read host memory.</summary>
    DeviceBuffer? TryBorrow(nint data, long sizeBytes);

    void Upload<T>(Tensor destination, ReadOnlySpan<T> source) where T : unmanaged;

    void Download<T>(Span<T> destination, Tensor source) where T : unmanaged;

    void Zero(Tensor contiguous);

    void Copy(Tensor destination, Tensor contiguous);

    void Synchronize();

    /// <summary>Whether work can be recorded once and launched again.</summary>
    bool CapturesGraphs { get; }

    /// <summary>Records what is enqueued from here on instead of running it.</summary>
    void BeginCapture();

    /// <summary>Ends the recording, also a failed one.</summary>
    DeviceGraph EndCapture();

    /// <summary>Enqueues what was recorded; memory it names must still exist.</summary>
    void Launch(DeviceGraph graph);

    void Convert(Tensor y, Tensor x, long count);

    void Nf4Quantize(Tensor codes, Tensor absmax, Tensor x, long count);

    void Nf4QuantizeAbsmax(Tensor codes, Tensor nestedAbsmax, Tensor nestedOffset, Tensor absmax, Tensor nestedMap, long count);

    /// <summary>Codes and scales of x, one scale a row, into the matrix' buffers.</summary>
    void Int8Quantize(WeightMatrix destination, Tensor x);

    /// <summary>Codes, scales and minima of x into the matrix' buffers; searching, the range of each group with the smallest squared error.</summary>
    void AffineQuantize(WeightMatrix destination, Tensor x, bool search);

    /// <summary>minimum += scaling / group size · b a: a QA-LoRA adapter becomes part of the affine weight it was trained on, codes untouched.</summary>
    void AffineMerge(WeightMatrix weight, Tensor b, Tensor a, float scaling);

    void Dequantize(Tensor y, WeightMatrix weight, long rowBegin, long rowCount);

    void EmbeddingForward(Tensor y, Tensor ids, WeightMatrix weight);

    void EmbeddingBackward(Tensor dweight, Tensor dy, Tensor ids);

    /// <summary>y = norm(x + residual); without residual pass none for it and for sum.</summary>
    void RmsNormForward(Tensor y, Tensor sum, Tensor rstd, Tensor x, Tensor residual, Tensor weight, long heads, float eps);

    void RmsNormBackward(Tensor dx, Tensor dweight, Tensor dy, Tensor dsum, Tensor x, Tensor rstd, Tensor weight, long heads, float eps);

    /// <summary>In place on heads side by side; cos and sin are [table rows, rope_dim / 2].</summary>
    void RopeForward(Tensor x, Tensor positions, Tensor cos, Tensor sin, int headDim);

    void RopeBackward(Tensor dx, Tensor positions, Tensor cos, Tensor sin, int headDim);

    void AttentionForward(Tensor o, Tensor lse, Tensor q, Tensor k, Tensor v, Tensor keyBegin, in AttentionShape shape, in Workspace workspace);

    void AttentionBackward(
        Tensor dq, Tensor dk, Tensor dv, Tensor dout, Tensor q, Tensor k, Tensor v, Tensor o, Tensor lse, Tensor keyBegin,
        in AttentionShape shape, in Workspace workspace);

    long AttentionWorkspaceBytes(DType dtype, long queryRows, long keyRows, in AttentionShape shape, bool backward);

    void SwigluForward(Tensor y, Tensor gate, Tensor up);

    void SwigluBackward(Tensor dgate, Tensor dup, Tensor dy, Tensor gate, Tensor up);

    /// <summary>y = x Wᵀ + bias + Σ segments; accumulate adds to y instead of writing it.</summary>
    void LinearForward(
        Tensor y, Tensor x, WeightMatrix weight, Tensor bias, ReadOnlySpan<LoraSegmentArguments> segments, in DropoutRows dropout,
        bool accumulate, in Workspace workspace);

    /// <summary>dx, and added to: dweight, dbias, the segments' dA and dB. None where not wanted.</summary>
    void LinearBackward(
        Tensor dx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x, WeightMatrix weight, ReadOnlySpan<LoraSegmentArguments> segments,
        in DropoutRows dropout, bool accumulate, in Workspace workspace);

    /// <summary>Workspace of a linear layer of up to <paramref name="rows"/> rows, whose activations and weight offer <paramref name="border"/>.</summary>
    long LinearWorkspaceBytes(DType dtype, WeightFormat format, int border, long rows, long inFeatures, long outFeatures, long rank);

    /// <summary>Row strides and border this device likes for a linear layer.</summary>
    LinearStrides LinearStrides(DType dtype, long inFeatures, long outFeatures, long rank);

    /// <summary>
    /// Up to how many rows quantised weights are multiplied packed: takes over a value of an earlier measurement, or measures (negative), and gives what
    /// holds now.
    /// </summary>
    long TunePackedRows(long packedRows);

    /// <summary>
    /// nll per row (0 where the target is ignored), optionally argmax, dx (scaled) and dweight. At most <paramref name="trainedRows"/> targets
    /// are not ignored: a GPU cannot count them before it multiplies. Step numbers on the device, where given, hold the scale.
    /// </summary>
    void LinearCrossEntropy(
        Tensor nll, Tensor predictions, Tensor dx, Tensor dweight, Tensor x, WeightMatrix weight, Tensor targets, int trainedRows,
        float gradientScale, Tensor stepNumbers, in Workspace workspace);

    long LinearCrossEntropyWorkspaceBytes(DType dtype, WeightFormat format, long rows, long hiddenSize, long vocabSize);

    void AdamWStep(Tensor parameter, Tensor m, Tensor v, Tensor gradient, in AdamWArguments arguments);

    /// <summary>The same with both moments as codes on a map of 256 values, times an absmax for each block of 256.</summary>
    void AdamW8BitStep(
        Tensor parameter, Tensor mCodes, Tensor vCodes, Tensor mAbsmax, Tensor vAbsmax, Tensor gradient, Tensor mMap, Tensor vMap, in AdamWArguments arguments);

    void SgdStep(Tensor parameter, Tensor velocity, Tensor gradient, in SgdArguments arguments);

    /// <summary>What an AdamW step computes from its arguments on the host.</summary>
    UpdateNumbers AdamWNumbers(in AdamWArguments arguments);

    /// <summary>Decides on the device, from the gradients' sum of squares and the losses, by what gradients are multiplied and whether the step counts.</summary>
    void ClipGradients(Tensor stepNumbers, Tensor sum, Tensor nll, float clipNorm);

    /// <summary>sum[0] = Σ x², in double and a fixed order.</summary>
    void SumOfSquares(Tensor sum, Tensor x);
}
