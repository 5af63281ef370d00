using FineTuneCore.Backends;
using FineTuneCore.Tensors;
using FluentAssertions;

namespace FineTuneCore.Conformance.Tests.Devices;

/// <summary>Tensors of one test: host values on a device and back. Between rows of a strided matrix lies a value that no op may touch.</summary>
internal sealed class Memory(IBackend backend) : IDisposable
{
    private const float Untouched = 12345f;
    private const int Offset = 64; // of a tensor in its buffer: ops must heed it
    private readonly List<DeviceBuffer> _buffers = [];

    internal Tensor Matrix(float[] values, long rows, long columns, DType dtype = DType.F32, int gap = 0)
    {
        long stride = columns + gap, count = Math.Max(1, rows * stride);
        var strided = new float[count];
        Array.Fill(strided, Untouched);
        for (long row = 0; row < rows; row++) Array.Copy(values, row * columns, strided, row * stride, columns);
        var tensor = new Tensor(Buffer(count * dtype.Size() + Offset), Offset, rows, columns, stride, dtype);
        Tensor whole = Tensor.Vector(tensor.Buffer!, Offset, count, dtype);
        if (dtype == DType.F32) backend.Upload<float>(whole, strided);
        else backend.Upload<ushort>(whole, [.. strided.Select(v => Numbers.Bits(v, dtype))]);
        return tensor;
    }

    /// <summary>A matrix for an op to write.</summary>
    internal Tensor Output(long rows, long columns, DType dtype = DType.F32, int gap = 0)
    {
        var values = new float[rows * columns];
        Array.Fill(values, -77f);
        return Matrix(values, rows, columns, dtype, gap);
    }

    internal Tensor Vector(float[] values) => Matrix(values, 1, values.Length);

    internal Tensor Vector<T>(T[] values, DType dtype)
        where T : unmanaged
    {
        Tensor tensor = Tensor.Vector(Buffer(Math.Max(1, values.Length) * dtype.Size() + Offset), Offset, values.Length, dtype);
        backend.Upload<T>(tensor, values);
        return tensor;
    }

    internal Workspace Workspace(long bytes) => new(Tensor.Vector(Buffer(Math.Max(1, bytes)), 0, Math.Max(1, bytes), DType.U8), bytes);

    internal float[] Read(Tensor tensor)
    {
        long count = Math.Max(1, tensor.Rows * tensor.RowStride);
        Tensor whole = Tensor.Vector(tensor.Buffer!, tensor.ByteOffset, count, tensor.DType);
        var strided = new float[count];
        if (tensor.DType == DType.F32)
        {
            backend.Download<float>(strided, whole);
        }
        else
        {
            var bits = new ushort[count];
            backend.Download<ushort>(bits, whole);
            for (int i = 0; i < count; i++) strided[i] = Numbers.Value(bits[i], tensor.DType);
        }

        var values = new float[tensor.Rows * tensor.Columns];
        float untouched = tensor.DType == DType.F32 ? Untouched : Numbers.Rounded(Untouched, tensor.DType);
        for (long row = 0; row < tensor.Rows; row++)
        {
            Array.Copy(strided, row * tensor.RowStride, values, row * tensor.Columns, tensor.Columns);
            for (long c = tensor.Columns; c < tensor.RowStride; c++)
                strided[row * tensor.RowStride + c].Should().Be(untouched, "what lies between rows {0} and {1} belongs to somebody else", row, row + 1);
        }

        return values;
    }

    internal T[] Read<T>(Tensor tensor)
        where T : unmanaged
    {
        var values = new T[tensor.Columns];
        backend.Download<T>(values, tensor);
        return values;
    }

    public void Dispose()
    {
        foreach (DeviceBuffer buffer in _buffers) buffer.Dispose();
    }

    private DeviceBuffer Buffer(long bytes)
    {
        DeviceBuffer buffer = backend.Allocate(bytes, "a test");
        _buffers.Add(buffer);
        return buffer;
    }
}
