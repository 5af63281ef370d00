using FineTuneCore.Backends;
using FineTuneCore.Ilgpu.Kernels;
using FineTuneCore.Native;
using FineTuneCore.Tensors;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.OpenCL;

namespace FineTuneCore.Ilgpu;

/// <summary>
/// Any OpenCL GPU with a generic address space, driven by ILGPU: memory here, ops in the other parts of this class. One in-order stream; the host waits
/// when it reads back. The same device gives the same bits on every run; another one may round divisions, roots and exponentials otherwise.
/// </summary>
internal sealed unsafe partial class IlgpuBackend : IBackend
{
    private const long Alignment = 64;

    private static readonly string[] FaultTexts =
    [
        "the token id of row {0} lies outside the vocabulary",
        "the position of row {0} lies outside the RoPE tables",
        "the target of row {0} is neither -100 nor a token id",
        "row {0} is trained beyond the number of trained rows that was given",
    ];

    private readonly Accelerator _accelerator;
    private readonly KernelLauncher _kernels;
    private readonly MemoryBuffer1D<byte, Stride1D.Dense> _nothing; // stands for tensors that are none
    private readonly MemoryBuffer1D<int, Stride1D.Dense> _faults;
    private readonly MemoryBuffer1D<float, Stride1D.Dense> _partials;
    private readonly MemoryBuffer1D<float, Stride1D.Dense> _nf4Thresholds;
    private readonly IDisposable? _owner;
    private readonly bool _fused;
    private readonly bool _narrow;
    private readonly int[] _found = new int[Fault.Count];
    private long _limit;
    private bool _mayHaveFaults;

    /// <summary>Takes over the accelerator, and <paramref name="owner"/> to be disposed behind it.</summary>
    /// <param name="accelerator">The device.</param>
    /// <param name="fused">Whether products multiply and add in one operation.</param>
    /// <param name="narrow">Whether groups have at most 64 threads and little local memory.</param>
    /// <param name="memoryLimitBytes">Of all buffers; 0 is the device's own.</param>
    /// <param name="owner">What else belongs to the device.</param>
    internal IlgpuBackend(Accelerator accelerator, bool fused, bool narrow, long memoryLimitBytes = 0, IDisposable? owner = null)
    {
        (_accelerator, _fused, _narrow, _owner) = (accelerator, fused, narrow, owner);
        _limit = memoryLimitBytes > 0 ? Math.Min(memoryLimitBytes, accelerator.MemorySize) : accelerator.MemorySize;
        _kernels = new KernelLauncher(accelerator);
        _nothing = accelerator.Allocate1D<byte>(Alignment);
        _faults = accelerator.Allocate1D<int>(Fault.Count);
        _faults.MemSetToZero();
        _partials = accelerator.Allocate1D<float>(2 * SquareGroups);
        _nf4Thresholds = accelerator.Allocate1D(Nf4Thresholds);
    }

    public DeviceInfo Info => new(
        "opencl", _accelerator.Name.Trim('\0', ' '), _accelerator is CLAccelerator cl ? $"OpenCL {cl.CLStdVersion.Major}.{cl.CLStdVersion.Minor}" : "ILGPU",
        0, _accelerator.MemorySize, _limit - MemoryUsed, MemoryUsed, 0, 0);

    public bool ReadsHostMemory => false;

    public bool HasBackground => false;

    public bool CapturesGraphs => false;

    /// <summary>Bytes of the buffers there are.</summary>
    internal long MemoryUsed { get; private set; }

    public long MemoryPeak { get; private set; }

    public void LimitBuffers(long bytes) => _limit = Math.Min(_limit, bytes);

    public double? MeasurePeak(DType dtype) => null;

    public DeviceBuffer Allocate(long sizeBytes, string purpose)
    {
        if (sizeBytes > _limit - MemoryUsed)
            throw FineTuneException.DoesNotFit($"no memory for {purpose}: {sizeBytes} bytes are needed, {_limit - MemoryUsed} of {_limit} are free on {Info.Name}.");
        long padded = checked((Math.Max(sizeBytes, 1) + Alignment - 1) / Alignment * Alignment);
        MemoryBuffer1D<byte, Stride1D.Dense> memory;
        try
        {
            memory = _accelerator.Allocate1D<byte>(padded);
        }
        catch (CLException e)
        {
            throw FineTuneException.DoesNotFit($"no memory for {purpose}: {Info.Name} refused a buffer of {sizeBytes} bytes ({e.Message}).", e);
        }

        memory.MemSetToZero();
        MemoryUsed += sizeBytes;
        MemoryPeak = Math.Max(MemoryPeak, MemoryUsed);
        return new IlgpuBuffer(memory, sizeBytes, () => MemoryUsed -= sizeBytes);
    }

    public DeviceBuffer AllocateHost(long sizeBytes, string purpose) => throw Unsupported("pinned host memory");

    public DeviceBuffer? TryBorrow(nint data, long sizeBytes) => null;

    public IBackgroundStream Background(BackgroundWork work, int sharePercent = 100) => throw Unsupported("background streams");

    public DeviceEvent CreateEvent() => throw Unsupported("events");

    public void Record(DeviceEvent point) => throw Unsupported("events");

    public void Wait(DeviceEvent point) => throw Unsupported("events");

    public void BeginCapture() => throw Unsupported("graphs");

    public DeviceGraph EndCapture() => throw Unsupported("graphs");

    public void Launch(DeviceGraph graph) => throw Unsupported("graphs");

    public void Upload<T>(Tensor destination, ReadOnlySpan<T> source)
        where T : unmanaged
    {
        if (source.IsEmpty) return;
        ReadOnlySpan<byte> bytes = System.Runtime.InteropServices.MemoryMarshal.AsBytes(source);
        Bytes(destination, bytes.Length).CopyFromCPU(_accelerator.DefaultStream, bytes);
    }

    public void Download<T>(Span<T> destination, Tensor source)
        where T : unmanaged
    {
        if (destination.IsEmpty) return;
        Span<byte> bytes = System.Runtime.InteropServices.MemoryMarshal.AsBytes(destination);
        Bytes(source, bytes.Length).CopyToCPU(_accelerator.DefaultStream, bytes);
    }

    public void Zero(Tensor contiguous)
    {
        if (contiguous.Rows > 0) Bytes(contiguous, SizeOf(contiguous)).MemSetToZero(_accelerator.DefaultStream);
    }

    public void Copy(Tensor destination, Tensor contiguous)
    {
        if (contiguous.Rows == 0) return;
        long bytes = SizeOf(contiguous);
        Bytes(contiguous, bytes).CopyTo(_accelerator.DefaultStream, Bytes(destination, bytes));
    }

    public void Synchronize()
    {
        _accelerator.DefaultStream.Synchronize();
        if (!_mayHaveFaults) return;
        _mayHaveFaults = false;
        _faults.View.AsContiguous().CopyToCPU(_accelerator.DefaultStream, _found);
        int fault = Array.FindIndex(_found, row => row > 0);
        if (fault < 0) return;
        _faults.MemSetToZero(_accelerator.DefaultStream);
        throw new FtcException(FtcStatus.InvalidArgument, string.Format(System.Globalization.CultureInfo.InvariantCulture, FaultTexts[fault], _found[fault] - 1));
    }

    public void Dispose()
    {
        _accelerator.DefaultStream.Synchronize();
        foreach (MemoryBuffer buffer in (MemoryBuffer[])[_nothing, _faults, _partials, _nf4Thresholds]) buffer.Dispose();
        _accelerator.Dispose();
        _owner?.Dispose();
    }

    private static FtcException Unsupported(string what) => new(FtcStatus.Unsupported, $"the ILGPU backend has no {what}");

    private static FtcException Invalid(string what) => new(FtcStatus.InvalidArgument, what);

    private static long SizeOf(Tensor contiguous) => contiguous.Rows * contiguous.RowStride * contiguous.DType.Size();

    /// <summary>Bytes of a tensor for the host's copies, whose offsets have 64 bits.</summary>
    private static ArrayView<byte> Bytes(Tensor tensor, long count)
    {
        if (tensor.Buffer is null || tensor.ByteOffset + count > tensor.Buffer.SizeBytes)
            throw new ArgumentException($"a copy of {count} bytes runs past a buffer of {tensor.Buffer?.SizeBytes ?? 0} bytes (offset {tensor.ByteOffset})");
        return ((IlgpuBuffer)tensor.Buffer).Bytes.SubView(tensor.ByteOffset, count);
    }

    /// <summary>
    /// So many elements of a tensor for a kernel. Checked here because nothing else does: a view of T begins at a multiple of T's size, else it is silently
    /// moved, and at an element below 2³¹, as OpenCL kernels get the offset as an int.
    /// </summary>
    private ArrayView<T> View<T>(Tensor tensor, long count)
        where T : unmanaged
    {
        if (tensor.Buffer is null) return _nothing.View.AsContiguous().Cast<T>();
        long size = sizeof(T), first = tensor.ByteOffset / size;
        if (tensor.ByteOffset % size != 0) throw Invalid($"a tensor of {size}-byte elements begins at byte {tensor.ByteOffset}, expected a multiple of {size}");
        if (first > int.MaxValue) throw Invalid($"a tensor begins at element {first} of its buffer, expected less than 2^31; use several buffers");
        if (count < 0 || tensor.ByteOffset + count * size > tensor.Buffer.SizeBytes)
            throw Invalid($"{count} elements of {size} bytes from byte {tensor.ByteOffset} on run past a buffer of {tensor.Buffer.SizeBytes} bytes");
        return ((IlgpuBuffer)tensor.Buffer).Bytes.Cast<T>().SubView(first, count);
    }

    /// <summary>All elements between the first and the last of a matrix.</summary>
    private ArrayView<T> View<T>(Tensor matrix)
        where T : unmanaged => View<T>(matrix, matrix.Rows > 0 ? (matrix.Rows - 1) * matrix.RowStride + matrix.Columns : 0);

    private static int Flag(Tensor tensor) => tensor.IsNone ? 0 : 1;

    /// <summary>Whether activations are bf16; other types than that and fp32 are refused by name.</summary>
    private static bool IsBf16(DType dtype, string op) => dtype switch
    {
        DType.F32 => false,
        DType.BF16 => true,
        _ => throw Unsupported($"{op} of {dtype}"),
    };

    /// <summary>Threads of a group that works on one row or on neighbouring elements.</summary>
    private int GroupThreads => _narrow ? OpenClDevices.FewestThreads : Reductions.Threads;

    private static KernelConfig Groups(long groups, int threads) => new(new Index1D(checked((int)groups)), new Index1D(threads));

    /// <summary>A thread for each of so many elements.</summary>
    private KernelConfig Elements(long count) => Groups((count + GroupThreads - 1) / GroupThreads, GroupThreads);

    /// <summary>Threads along the columns, groups along the rows.</summary>
    private KernelConfig Matrix(long rows, long columns) => new(
        new Index2D(checked((int)((columns + GroupThreads - 1) / GroupThreads)), checked((int)rows)), new Index2D(GroupThreads, 1));
}
