using FineTuneCore.Backends;
using FineTuneCore.Conformance.Tests.Devices;
using FineTuneCore.Conformance.Tests.References;
using FineTuneCore.Models;
using FineTuneCore.Tensors;
using Nf4Tables = FineTuneCore.Kernels.Nf4Tables;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Conformance.Tests.Ops;

/// <summary>Quantisers and what weights of every format stand for. Codes are exact where the device divides as IEEE says, as these devices do.</summary>
public abstract class QuantTests<TDevice> : OpTests<TDevice>
    where TDevice : TestDevice, new()
{
    [Theory]
    [InlineData(QuantReference.F32, 7, 67)]
    [InlineData(QuantReference.Bf16, 7, 67)]
    [InlineData(QuantReference.Nf4, 7, 131)]
    [InlineData(QuantReference.Nf4Nested, 130, 257)]
    [InlineData(QuantReference.Int8, 7, 131)]
    [InlineData(QuantReference.Affine4, 7, 96)]
    [InlineData(QuantReference.Affine3, 7, 96)]
    [InlineData(QuantReference.Affine2, 7, 96)]
    public void DequantisedWeightsAreExact(string format, int rows, int columns)
    {
        WeightMatrix weight = QuantReference.Weight(Memory, format, rows, columns, out float[] values);
        const int First = 2, Count = 4;
        float[] expected = values[(First * columns)..((First + Count) * columns)];
        foreach (DType type in (DType[])[DType.F32, DType.BF16])
        {
            Tensor y = Memory.Output(Count, columns, type, gap: 3);
            Backend.Dequantize(y, weight, First, Count);
            Memory.Read(y).Should().Equal(expected.Select(v => Numbers.Rounded(v, type)), "{0} into {1}", format, type);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(64)]
    [InlineData(1001)]
    [InlineData(70000)]
    public void Nf4CodesAreThoseOfTheNearestValue(int count)
    {
        float[] x = Numbers.Random(111, count, 3f);
        if (count > 200) Array.Clear(x, 64, 64); // a block of zeros
        int blocks = (count + 63) / 64;
        float[] map = Nf4Tables.QuantMap.ToArray();
        var codes = new byte[(count + 1) / 2];
        var absmax = new float[blocks];
        for (int b = 0; b < blocks; b++) absmax[b] = x.Skip(b * 64).Take(64).Max(MathF.Abs);
        for (int e = 0; e < 2 * codes.Length; e++)
        {
            int code = 7;
            if (e < count && absmax[e / 64] > 0)
            {
                float scaled = x[e] * (1f / absmax[e / 64]);
                code = 0;
                for (int c = 1; c < 16; c++)
                    if (Math.Abs((double)map[c] - scaled) < Math.Abs((double)map[code] - scaled)) code = c;
            }

            codes[e / 2] |= (byte)(e % 2 == 0 ? code << 4 : code);
        }

        Tensor codeTensor = Memory.Vector(new byte[codes.Length], DType.U8), absmaxTensor = Memory.Output(1, blocks);
        Backend.Nf4Quantize(codeTensor, absmaxTensor, Memory.Vector(x), count);
        Memory.Read(absmaxTensor).Should().Equal(absmax);
        Memory.Read<byte>(codeTensor).Should().Equal(codes);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(37)]
    [InlineData(1000)]
    [InlineData(33000)]
    public void NestedAbsmaxIsThatOfTheOtherBackends(int count)
    {
        float[] absmax = [.. Numbers.Random(112, count, 2f).Select(MathF.Abs)];
        (byte[] codes, float[] nested, float offset) = Nested(Backend, Memory, absmax);
        ((double)offset).Should().BeApproximately(absmax.Average(v => (double)v), 1e-6);
        using var otherMemory = new Memory(new TestDevice.Cpu().Backend);
        (byte[] otherCodes, float[] otherNested, float otherOffset) = Nested(new TestDevice.Cpu().Backend, otherMemory, absmax);
        offset.Should().Be(otherOffset, "the order of its sum is written down");
        nested.Should().Equal(otherNested);
        codes.Should().Equal(otherCodes);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(5, 257)]
    public void Int8CodesAreRoundedToTheNearest(int rows, int columns)
    {
        float[] x = Numbers.Random(113, rows * columns, 2f);
        if (rows > 1) Array.Clear(x, columns, columns); // a row of zeros
        var weight = new WeightMatrix
        {
            Format = WeightFormat.Int8, Rows = rows, Columns = columns, Data = Memory.Vector(new byte[rows * columns], DType.U8), Scale = Memory.Output(1, rows),
        };
        Backend.Int8Quantize(weight, Memory.Matrix(x, rows, columns, DType.F32, gap: 3));
        float[] scale = [.. Enumerable.Range(0, rows).Select(r => x.Skip(r * columns).Take(columns).Max(MathF.Abs) / 127f)];
        Memory.Read(weight.Scale).Should().Equal(scale);
        Memory.Read<byte>(weight.Data).Select(c => (int)(sbyte)c).Should().Equal(
            x.Select((v, i) => scale[i / columns] > 0 ? (int)MathF.Round(v / scale[i / columns], MidpointRounding.ToEven) : 0));
    }

    [Theory]
    [InlineData(4, 32, false)]
    [InlineData(3, 64, true)]
    [InlineData(2, 128, true)]
    public void AffineCodesAreThoseOfTheOtherBackends(int bits, int groupSize, bool search)
    {
        const int Rows = 6, Columns = 256;
        float[] x = Numbers.Random(114, Rows * Columns, 2f);
        Array.Fill(x, 1.5f, groupSize, groupSize); // a group of equal values
        (byte[] codes, float[] scale, float[] minimum) = Affine(Backend, Memory, x, Rows, Columns, bits, groupSize, search);
        using var otherMemory = new Memory(new TestDevice.Cpu().Backend);
        (byte[] otherCodes, float[] otherScale, float[] otherMinimum) = Affine(new TestDevice.Cpu().Backend, otherMemory, x, Rows, Columns, bits, groupSize, search);
        scale.Should().Equal(otherScale);
        minimum.Should().Equal(otherMinimum);
        codes.Should().Equal(otherCodes);
        // And every value comes back to within half a step, or the clipped end of its range.
        if (search) return;
        for (int i = 0; i < x.Length; i++)
        {
            int group = i / groupSize, row = i / Columns, column = i % Columns, code = 0;
            for (int bit = 0; bit < bits; bit++)
            {
                int at = bits * column + bit;
                code |= ((codes[row * (Columns / 8 * bits) + at / 8] >> (at % 8)) & 1) << bit;
            }

            ((double)scale[group] * code + minimum[group]).Should().BeApproximately(x[i], scale[group] * 0.501);
        }
    }

    [Fact]
    public void MergingAddsTheAdapterToTheMinimum()
    {
        const int Rows = 5, Columns = 192, Rank = 7, GroupSize = 32, Groups = Columns / GroupSize;
        WeightMatrix weight = QuantReference.Weight(Memory, QuantReference.Affine4, Rows, Columns, out _);
        float[] before = Memory.Read(weight.Minimum), b = Numbers.Random(115, Rows * Rank), a = Numbers.Random(116, Rank * Groups);
        Backend.AffineMerge(weight, Memory.Matrix(b, Rows, Rank), Memory.Matrix(a, Rank, Groups), 1.7f);
        float[] expected = [.. before.Select((v, i) =>
        {
            double sum = 0;
            for (int t = 0; t < Rank; t++) sum += (double)b[i / Groups * Rank + t] * a[t * Groups + i % Groups];
            return (float)(v + (double)1.7f / GroupSize * sum);
        })];
        Memory.Read(weight.Minimum).Should().Equal(expected);
    }

    private static (byte[] Codes, float[] Nested, float Offset) Nested(IBackend backend, Memory memory, float[] absmax)
    {
        int count = absmax.Length;
        Tensor codes = memory.Vector(new byte[count], DType.U8), nested = memory.Output(1, (count + 255) / 256), offset = memory.Output(1, 1);
        backend.Nf4QuantizeAbsmax(codes, nested, offset, memory.Vector(absmax), memory.Vector(Nf4Tables.NestedMap.ToArray()), count);
        return (memory.Read<byte>(codes), memory.Read(nested), memory.Read(offset)[0]);
    }

    private static (byte[] Codes, float[] Scale, float[] Minimum) Affine(
        IBackend backend, Memory memory, float[] x, int rows, int columns, int bits, int groupSize, bool search)
    {
        int groups = rows * columns / groupSize;
        var weight = new WeightMatrix
        {
            Format = WeightFormat.Affine, Rows = rows, Columns = columns, Bits = bits, GroupSize = groupSize,
            Data = memory.Vector(new byte[rows * columns / 8 * bits], DType.U8), Scale = memory.Output(1, groups), Minimum = memory.Output(1, groups),
        };
        backend.AffineQuantize(weight, memory.Matrix(x, rows, columns, DType.F32, gap: 2), search);
        return (memory.Read<byte>(weight.Data), memory.Read(weight.Scale), memory.Read(weight.Minimum));
    }
}

public sealed class QuantOnCpu : QuantTests<TestDevice.Cpu>;

public sealed class QuantOnOpenCl : QuantTests<TestDevice.OpenCl>;

public sealed class QuantOnASmallGpu : QuantTests<TestDevice.SmallGpu>;
