using FineTuneCore.Backends;
using FineTuneCore.Conformance.Tests.Devices;
using FineTuneCore.Native;
using FineTuneCore.Tensors;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Conformance.Tests.Ops;

/// <summary>Copies, conversions, embedding, RoPE and SwiGLU.</summary>
public abstract class ElementwiseTests<TDevice> : OpTests<TDevice>
    where TDevice : TestDevice, new()
{
    [Fact]
    public void CopiesAndZerosKeepToTheirBytes()
    {
        Tensor x = Memory.Vector([1, 2, 3, 4, 5]), y = Memory.Vector([9, 9, 9, 9, 9]);
        Backend.Copy(y with { ByteOffset = y.ByteOffset + 4, Columns = 3, RowStride = 3 }, x with { Columns = 3, RowStride = 3 });
        Memory.Read(y).Should().Equal(9, 1, 2, 3, 9);
        Backend.Zero(y with { ByteOffset = y.ByteOffset + 8, Columns = 2, RowStride = 2 });
        Memory.Read(y).Should().Equal(9, 1, 0, 0, 9);
        Action past = () => Backend.Copy(y with { ByteOffset = y.Buffer!.SizeBytes - 4 }, x);
        past.Should().Throw<ArgumentException>().WithMessage("*runs past a buffer of*");
    }

    [Fact]
    public void NewMemoryIsZero()
    {
        using DeviceBuffer buffer = Backend.Allocate(1000, "a test");
        var bytes = new byte[1000];
        Backend.Download<byte>(bytes, Tensor.Vector(buffer, 0, 1000, DType.U8));
        bytes.Should().OnlyContain(b => b == 0);
    }

    [Fact]
    public void AnAllocationThatDoesNotFitIsRefusedWithNumbers()
    {
        IBackend backend = Backend; // without the device the test is skipped here, and not taken to throw
        Action huge = () => backend.Allocate(1L << 50, "a test");
        huge.Should().Throw<FineTuneException>().WithMessage("no memory for a test: *").Which.Kind.Should().Be(FailureKind.DoesNotFit);
    }

    [Fact]
    public void ConversionsAreBitExact()
    {
        float[] hard =
        [
            0f, -0f, 1f, -1f, 65504f, 65519.99f, 65520f, 1e30f, -1e30f, 6.1e-5f, 5.9604645e-8f, 2.98e-8f, 2.99e-8f, 1e-9f, float.PositiveInfinity,
            float.NegativeInfinity, float.MaxValue, 1.00390625f, 1.01171875f, 3.1415927f,
        ];
        float[] values = [.. hard, .. Numbers.Random(1, 237, 100f)];
        Tensor x = Memory.Vector(values);
        foreach (DType narrow in (DType[])[DType.BF16, DType.F16])
        {
            Tensor y = Memory.Output(1, values.Length, narrow), back = Memory.Output(1, values.Length);
            Backend.Convert(y, x, values.Length);
            Memory.Read<ushort>(y).Should().Equal(values.Select(v => Numbers.Bits(v, narrow)), "{0}", narrow);
            Backend.Convert(back, y, values.Length);
            Memory.Read(back).Should().Equal(values.Select(v => Numbers.Rounded(v, narrow)), "{0}", narrow);
        }

        Tensor nan = Memory.Vector([float.NaN]), half = Memory.Output(1, 1, DType.F16), brain = Memory.Output(1, 1, DType.BF16);
        Backend.Convert(half, nan, 1);
        Backend.Convert(brain, nan, 1);
        Memory.Read(half)[0].Should().Be(float.NaN);
        Memory.Read(brain)[0].Should().Be(float.NaN);
    }

    [Theory]
    [InlineData(false, false, 1)]
    [InlineData(true, false, 131)]
    [InlineData(false, true, 257)]
    [InlineData(true, true, 64)]
    public void EmbeddingTakesAndAddsRows(bool bf16Weight, bool bf16, int columns)
    {
        const int Vocab = 7;
        int[] ids = [3, 0, 6, 3, 3];
        float[] table = Numbers.Random(2, Vocab * columns, 1f, DType.BF16), dy = Numbers.Random(3, ids.Length * columns, 1f, TypeOf(bf16));
        Tensor idTensor = Memory.Vector(ids, DType.I32), y = Memory.Output(ids.Length, columns, TypeOf(bf16), gap: 3);
        Backend.EmbeddingForward(y, idTensor, new WeightMatrix
        {
            Format = bf16Weight ? WeightFormat.BF16 : WeightFormat.F32, Rows = Vocab, Columns = columns,
            Data = Memory.Matrix(table, Vocab, columns, TypeOf(bf16Weight), gap: 5),
        });
        Backend.Synchronize();
        Memory.Read(y).Should().Equal(ids.SelectMany(id => table.Skip(id * columns).Take(columns)));

        float[] before = Numbers.Random(4, Vocab * columns);
        Tensor dweight = Memory.Matrix(before, Vocab, columns);
        Backend.EmbeddingBackward(dweight, Memory.Matrix(dy, ids.Length, columns, TypeOf(bf16), gap: 2), idTensor);
        Backend.Synchronize();
        var expected = (float[])before.Clone();
        for (int row = 0; row < ids.Length; row++)
            for (int c = 0; c < columns; c++) expected[ids[row] * columns + c] += dy[row * columns + c];
        Memory.Read(dweight).Should().Equal(expected);
    }

    [Fact]
    public void AnIdOutsideTheVocabularyIsReported()
    {
        var weight = new WeightMatrix { Format = WeightFormat.F32, Rows = 4, Columns = 8, Data = Memory.Output(4, 8) };
        Tensor y = Memory.Output(3, 8), ids = Memory.Vector([1, 4, 2], DType.I32);
        Action run = () =>
        {
            Backend.EmbeddingForward(y, ids, weight);
            Backend.Synchronize();
        };
        run.Should().Throw<FtcException>().Which.Status.Should().Be(FtcStatus.InvalidArgument);
        // The device goes on.
        Backend.EmbeddingForward(y, Memory.Vector([1, 3, 2], DType.I32), weight);
        Backend.Synchronize();
    }

    [Theory]
    [InlineData(1, 1, 8, 8, false)]
    [InlineData(5, 3, 20, 14, false)]
    [InlineData(17, 4, 64, 64, true)]
    public void RopeTurnsAndTurnsBack(int rows, int heads, int headDim, int ropeDim, bool bf16)
    {
        const int TableRows = 23;
        int half = ropeDim / 2;
        float[] x = Numbers.Random(5, rows * heads * headDim, 1f, TypeOf(bf16)), cos = Numbers.Random(6, TableRows * half), sin = Numbers.Random(7, TableRows * half);
        int[] positions = [.. Enumerable.Range(0, rows).Select(i => i * 7 % TableRows)];
        Tensor p = Memory.Vector(positions, DType.I32), c = Memory.Matrix(cos, TableRows, half), s = Memory.Matrix(sin, TableRows, half);
        foreach (int direction in (int[])[1, -1])
        {
            double[] exact = [.. x.Select(v => (double)v)], naive = [.. exact];
            for (int row = 0; row < rows; row++)
            {
                for (int head = 0; head < heads; head++)
                {
                    for (int i = 0; i < half; i++)
                    {
                        int at = (row * heads + head) * headDim + i, table = positions[row] * half + i;
                        float co = cos[table], si = sin[table] * direction, a = x[at], b = x[at + half];
                        (exact[at], exact[at + half]) = ((double)a * co - (double)b * si, (double)b * co + (double)a * si);
                        (naive[at], naive[at + half]) = (a * co - b * si, b * co + a * si);
                    }
                }
            }

            Tensor tensor = Memory.Matrix(x, rows, heads * headDim, TypeOf(bf16), gap: 4);
            if (direction > 0) Backend.RopeForward(tensor, p, c, s, headDim);
            else Backend.RopeBackward(tensor, p, c, s, headDim);
            Backend.Synchronize();
            Accuracy.Check(Memory.Read(tensor), exact, naive, $"direction {direction}", 0, TypeOf(bf16));
        }

        Action outside = () =>
        {
            Backend.RopeForward(Memory.Matrix(x, rows, heads * headDim, TypeOf(bf16)), Memory.Vector([.. positions.Select(_ => TableRows)], DType.I32), c, s, headDim);
            Backend.Synchronize();
        };
        outside.Should().Throw<FtcException>().Which.Status.Should().Be(FtcStatus.InvalidArgument);
    }

    [Theory]
    [InlineData(1, 1, false)]
    [InlineData(3, 257, false)]
    [InlineData(5, 131, true)]
    public void SwigluEqualsItsFormula(int rows, int columns, bool bf16)
    {
        DType type = TypeOf(bf16);
        float[] gate = Numbers.Random(8, rows * columns, 20f, type), up = Numbers.Random(9, rows * columns, 2f, type), dy = Numbers.Random(10, rows * columns, 1f, type);
        int n = gate.Length;
        double[] y = new double[n], dgate = new double[n], dup = new double[n], naiveY = new double[n], naiveDgate = new double[n], naiveDup = new double[n];
        for (int i = 0; i < n; i++)
        {
            double s = 1 / (1 + Math.Exp(-(double)gate[i]));
            (y[i], dgate[i], dup[i]) = (gate[i] * s * up[i], dy[i] * up[i] * (s * (1 + gate[i] * (1 - s))), dy[i] * gate[i] * s);
            float f = 1 / (1 + MathF.Exp(-gate[i]));
            (naiveY[i], naiveDgate[i], naiveDup[i]) = (gate[i] * f * up[i], dy[i] * up[i] * (f * (1 + gate[i] * (1 - f))), dy[i] * gate[i] * f);
        }

        Tensor g = Memory.Matrix(gate, rows, columns, type, gap: 3), u = Memory.Matrix(up, rows, columns, type, gap: 3), out1 = Memory.Output(rows, columns, type, gap: 1);
        Backend.SwigluForward(out1, g, u);
        Accuracy.Check(Memory.Read(out1), y, naiveY, "y", FunctionUlps, type);
        // In place: dgate over gate, dup over up.
        Backend.SwigluBackward(g, u, Memory.Matrix(dy, rows, columns, type, gap: 2), g, u);
        Accuracy.Check(Memory.Read(g), dgate, naiveDgate, "dgate", FunctionUlps, type);
        Accuracy.Check(Memory.Read(u), dup, naiveDup, "dup", FunctionUlps, type);
    }
}

public sealed class ElementwiseOnCpu : ElementwiseTests<TestDevice.Cpu>;

public sealed class ElementwiseOnOpenCl : ElementwiseTests<TestDevice.OpenCl>;

public sealed class ElementwiseOnASmallGpu : ElementwiseTests<TestDevice.SmallGpu>;
