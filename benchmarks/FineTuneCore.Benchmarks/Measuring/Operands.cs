using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FineTuneCore.Tensors;
using Nf4Tables = FineTuneCore.Kernels.Nf4Tables;

namespace FineTuneCore.Benchmarks.Measuring;

/// <summary>Tensors, weights and workspace for timing an op by itself, laid out as the trainer lays them out.</summary>
internal sealed class Operands(IBackend backend) : IDisposable
{
    private readonly List<DeviceBuffer> _buffers = [];

    /// <summary>[rows, columns] with the row stride the device likes; random numbers in ±1, or zeros without a stream.</summary>
    internal Tensor Matrix(long rows, long columns, DType dtype = DType.F32, ulong stream = 0) =>
        Filled(rows, columns, Stride(columns, dtype), dtype, stream == 0 ? null : LoraStep.Uniform(stream, checked((int)(rows * columns)), 1));

    /// <summary>The same of these numbers.</summary>
    internal Tensor Matrix(long rows, long columns, float[] values, DType dtype = DType.F32) => Filled(rows, columns, Stride(columns, dtype), dtype, values);

    /// <summary>A contiguous [rows, columns], or a vector with one row; zeros unless numbers are given.</summary>
    internal Tensor Contiguous(long rows, long columns, float[]? values = null) => Filled(rows, columns, columns, DType.F32, values);

    internal Tensor Values(params float[] values) => Contiguous(1, values.Length, values);

    internal Tensor Integers(params ReadOnlySpan<int> values)
    {
        Tensor tensor = Tensor.Vector(Allocate(values.Length * 4L), 0, values.Length, DType.I32);
        backend.Upload(tensor, values);
        return tensor;
    }

    internal Tensor Bytes(params ReadOnlySpan<byte> values)
    {
        Tensor tensor = Tensor.Vector(Allocate(values.Length), 0, values.Length, DType.U8);
        backend.Upload(tensor, values);
        return tensor;
    }

    internal Workspace Workspace(long bytes) => new(Tensor.Vector(Allocate(bytes), 0, bytes, DType.U8), bytes);

    /// <summary>A weight [n, k] of these numbers as a mapped checkpoint would hold it; NF4 has fp32 absmax.</summary>
    internal WeightMatrix Weight(WeightFormat format, int n, int k, float[] values)
    {
        if (format == WeightFormat.Nf4) return Quantised(n, k, values);
        DType dtype = format == WeightFormat.BF16 ? DType.BF16 : DType.F32;
        return new WeightMatrix { Format = format, Rows = n, Columns = k, Data = Filled(n, k, k, dtype, values) };
    }

    /// <summary>An NF4 weight of these codes and absmax.</summary>
    internal WeightMatrix Nf4Weight(int n, int k, Tensor codes, Tensor absmax) => new()
    {
        Format = WeightFormat.Nf4, Rows = n, Columns = k, Data = codes, Absmax = absmax, QuantMap = Values(Nf4Numbers.Map.ToArray()), BlockSize = Nf4Tables.BlockSize,
    };

    /// <summary>What a tensor holds, in fp32 and without the gaps between its rows.</summary>
    internal float[] Download(Tensor tensor)
    {
        int width = tensor.DType.Size();
        var bytes = new byte[(tensor.Rows - 1) * tensor.RowStride * width + tensor.Columns * width];
        backend.Download<byte>(bytes, tensor);
        backend.Synchronize();
        var values = new float[tensor.Rows * tensor.Columns];
        for (int row = 0; row < tensor.Rows; row++)
        {
            FloatConversion.ToF32(
                values.AsSpan(row * (int)tensor.Columns, (int)tensor.Columns), bytes.AsSpan((int)(row * tensor.RowStride * width), (int)tensor.Columns * width), Type(tensor.DType));
        }

        return values;
    }

    private WeightMatrix Quantised(int n, int k, float[] values)
    {
        long count = (long)n * k;
        Tensor codes = Tensor.Vector(Allocate(count / 2), 0, count / 2, DType.U8), absmax = Contiguous(1, count / Nf4Tables.BlockSize);
        using DeviceBuffer wide = backend.Allocate(count * 4, "a weight before it is quantised");
        Tensor x = Tensor.Vector(wide, 0, count);
        backend.Upload<float>(x, values);
        backend.Nf4Quantize(codes, absmax, x, count);
        return Nf4Weight(n, k, codes, absmax);
    }

    private long Stride(long columns, DType dtype) => backend.LinearStrides(dtype, columns, columns, 0).Y;

    private Tensor Filled(long rows, long columns, long stride, DType dtype, float[]? values)
    {
        int width = dtype.Size();
        var tensor = new Tensor(Allocate(rows * stride * width), 0, rows, columns, stride, dtype);
        if (values is null) return tensor;
        var bytes = new byte[rows * stride * width];
        for (int row = 0; row < rows; row++)
            FloatConversion.FromF32(bytes.AsSpan((int)(row * stride * width)), values.AsSpan(row * (int)columns, (int)columns), Type(dtype));
        backend.Upload<byte>(tensor, bytes);
        return tensor;
    }

    private static ElementType Type(DType dtype) => dtype == DType.BF16 ? ElementType.BF16 : ElementType.F32;

    private DeviceBuffer Allocate(long bytes)
    {
        DeviceBuffer buffer = backend.Allocate(bytes, "an operand");
        _buffers.Add(buffer);
        return buffer;
    }

    public void Dispose()
    {
        foreach (DeviceBuffer buffer in _buffers) buffer.Dispose();
        _buffers.Clear();
    }
}
