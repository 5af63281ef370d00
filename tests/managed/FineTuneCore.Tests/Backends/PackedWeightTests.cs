using FineTuneCore.Backends;
using FineTuneCore.Tensors;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Backends;

/// <summary>int8 and affine weights and QA-LoRA through <see cref="IBackend"/>: that every field arrives where the library reads it.</summary>
public sealed class PackedWeightTests : IDisposable
{
    private const int Rows = 24, Columns = 128, Tokens = 5, Rank = 3;

    private readonly IBackend _backend = Device.Open(TestDevice.Name, "fp32").Backend;
    private readonly List<DeviceBuffer> _buffers = [];

    public void Dispose()
    {
        _buffers.ForEach(b => b.Dispose());
        _backend.Dispose();
    }

    [Theory]
    [InlineData(8, 0)]
    [InlineData(4, 32)]
    [InlineData(3, 64)]
    [InlineData(2, 128)]
    public void AQuantisedWeightMultipliesAsItsDequantisedSelf(int bits, int group)
    {
        float[] values = Random(Rows * Columns, 1);
        WeightMatrix packed = Quantise(values, bits, group);
        Tensor wide = New(Rows, Columns);
        _backend.Dequantize(wide, packed, 0, Rows);
        double step = bits == 8 ? 2.0 / 254 : 2.0 / ((1 << bits) - 1);
        Read(wide).Zip(values).Should().OnlyContain(p => Math.Abs(p.First - p.Second) <= 0.51 * step, "a code is half a step away at most");
        packed.ByteCount.Should().Be(bits == 8 ? Rows * (Columns + 4) : Rows * Columns * bits / 8 + Rows * Columns / group * 8);

        var plain = new WeightMatrix { Format = WeightFormat.F32, Rows = Rows, Columns = Columns, Data = wide };
        Tensor x = New(Tokens, Columns, Random(Tokens * Columns, 2));
        Forward(packed, x, []).Zip(Forward(plain, x, [])).Should().OnlyContain(p => Math.Abs(p.First - p.Second) < 1e-4f);
    }

    [Fact]
    public void AMergedQaLoraAdapterIsTheWeightAndTheAdapter()
    {
        const int group = 32;
        WeightMatrix weight = Quantise(Random(Rows * Columns, 1), 4, group);
        Tensor x = New(Tokens, Columns, Random(Tokens * Columns, 2)), a = New(Rank, Columns / group, Random(Rank * Columns / group, 3));
        Tensor b = New(Rows, Rank, Random(Rows * Rank, 4));
        var adapter = new LoraSegmentArguments(0, Tokens, Rank, 2f, a, b, New(Tokens, Rank), default, default, 0, 0, group);
        float[] adapted = Forward(weight, x, [adapter]), alone = Forward(weight, x, []);
        byte[] codes = Codes(weight);

        _backend.AffineMerge(weight, b, a, 2f);

        adapted.Zip(alone).Should().Contain(p => Math.Abs(p.First - p.Second) > 0.1f, "the adapter does something");
        Forward(weight, x, []).Zip(adapted).Should().OnlyContain(p => Math.Abs(p.First - p.Second) < 1e-4f);
        Codes(weight).Should().Equal(codes);
    }

    private WeightMatrix Quantise(float[] values, int bits, int group)
    {
        int groups = group == 0 ? 1 : Columns / group;
        var weight = new WeightMatrix
        {
            Format = bits == 8 ? WeightFormat.Int8 : WeightFormat.Affine, Rows = Rows, Columns = Columns,
            Data = Vector(Rows * Columns / 8 * bits, DType.U8), Bits = bits == 8 ? 0 : bits, GroupSize = group,
            Scale = Vector(Rows * groups, DType.F32), Minimum = Vector(Rows * groups, DType.F32),
        };
        Tensor x = New(Rows, Columns, values);
        if (bits == 8) _backend.Int8Quantize(weight, x);
        else _backend.AffineQuantize(weight, x, search: false);
        return weight;
    }

    private float[] Forward(WeightMatrix weight, Tensor x, ReadOnlySpan<LoraSegmentArguments> segments)
    {
        long bytes = _backend.LinearWorkspaceBytes(DType.F32, weight.Format, border: 0, Tokens, Columns, Rows, Rank);
        Tensor y = New(Tokens, Rows), memory = Vector(Math.Max(bytes, 1), DType.U8);
        _backend.LinearForward(y, x, weight, default, segments, default, accumulate: false, new Workspace(memory, bytes));
        return Read(y);
    }

    private byte[] Codes(WeightMatrix weight)
    {
        var codes = new byte[weight.Data.Columns];
        _backend.Download(codes.AsSpan(), weight.Data);
        return codes;
    }

    private float[] Read(Tensor tensor)
    {
        var values = new float[tensor.Rows * tensor.Columns];
        _backend.Download(values.AsSpan(), tensor);
        return values;
    }

    private Tensor Vector(long count, DType dtype)
    {
        _buffers.Add(_backend.Allocate(count * dtype.Size(), "a test"));
        return Tensor.Vector(_buffers[^1], 0, count, dtype);
    }

    private Tensor New(long rows, long columns, float[]? values = null)
    {
        Tensor tensor = Vector(rows * columns, DType.F32) with { Rows = rows, Columns = columns, RowStride = columns };
        if (values is not null) _backend.Upload<float>(tensor, values);
        return tensor;
    }

    private static float[] Random(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)(2 * random.NextDouble() - 1))];
    }
}
