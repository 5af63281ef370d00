using FineTuneCore.Backends;
using FineTuneCore.Conformance.Tests.Devices;
using FineTuneCore.Conformance.Tests.References;
using FineTuneCore.Tensors;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Conformance.Tests.Ops;

/// <summary>The kernels with the most indices, at tiny shapes, where every index is checked.</summary>
public sealed class BoundsTests : OpTests<TestDevice.Emulated>
{
    [Theory]
    [InlineData(QuantReference.F32, 3)]
    [InlineData(QuantReference.F32, 17)]
    [InlineData(QuantReference.Nf4Nested, 3)]
    [InlineData(QuantReference.Nf4Nested, 17)]
    [InlineData(QuantReference.Affine3, 17)]
    public void LinearWithAnAdapter(string format, int m)
    {
        const int N = 5, K = 32, Rank = 2;
        WeightMatrix weight = QuantReference.Weight(Memory, format, N, K, out float[] w);
        float[] x = Numbers.Random(121, m * K);
        Tensor xs = Memory.Matrix(x, m, K), y = Memory.Output(m, N), dx = Memory.Output(m, K), rows = Memory.Vector(Enumerable.Range(0, m).ToArray(), DType.I32);
        LoraSegmentArguments[] segments =
        [
            new(1, m, Rank, 0f, Memory.Output(Rank, K), Memory.Output(N, Rank), Memory.Output(m - 1, Rank), Memory.Output(Rank, K), Memory.Output(N, Rank), 0.25f, 7),
        ];
        Workspace workspace = Memory.Workspace(Backend.LinearWorkspaceBytes(DType.F32, weight.Format, 0, m, K, N, Rank));
        Backend.LinearForward(y, xs, weight, default, segments, new DropoutRows(rows, rows, 1), accumulate: false, in workspace);
        float[] values = Memory.Read(y);
        for (int i = 0; i < m * N; i++)
        {
            double exact = Enumerable.Range(0, K).Sum(k => (double)x[i / N * K + k] * w[i % N * K + k]);
            ((double)values[i]).Should().BeApproximately(exact, 1e-4);
        }

        Backend.LinearBackward(dx, Memory.Output(N, K), Memory.Output(1, N), y, xs, weight, segments, new DropoutRows(rows, rows, 1), accumulate: false, in workspace);
        Backend.Synchronize();
    }

    [Fact]
    public void Attention()
    {
        const int Rows = 3, Keys = 5, HeadDim = 5;
        var shape = new AttentionShape(Keys - Rows, 2, 1, HeadDim, 0.4f);
        Tensor q = Memory.Matrix(Numbers.Random(122, Rows * 2 * HeadDim), Rows, 2 * HeadDim), k = Memory.Matrix(Numbers.Random(123, Keys * HeadDim), Keys, HeadDim);
        Tensor begin = Memory.Vector([0, 1, 4], DType.I32), o = Memory.Output(Rows, 2 * HeadDim), lse = Memory.Output(Rows, 2), dk = Memory.Output(Keys, HeadDim);
        Workspace workspace = Memory.Workspace(Backend.AttentionWorkspaceBytes(DType.F32, Rows, Keys, in shape, backward: true));
        Backend.AttentionForward(o, lse, q, k, k, begin, in shape, in workspace);
        Memory.Read(o)[(2 * 2 * HeadDim)..].Should().Equal([.. Memory.Read(k)[(4 * HeadDim)..], .. Memory.Read(k)[(4 * HeadDim)..]], "a row that sees one key takes its value");
        Backend.AttentionBackward(Memory.Output(Rows, 2 * HeadDim), dk, Memory.Output(Keys, HeadDim), o, q, k, k, o, lse, begin, in shape, in workspace);
        Backend.Synchronize();
    }

    [Theory]
    [InlineData(4)]
    [InlineData(0)]
    public void CrossEntropy(int trainedRows)
    {
        const int Rows = 5, Hidden = 6, Vocab = 7;
        WeightMatrix weight = QuantReference.Weight(Memory, QuantReference.F32, Vocab, Hidden, out _);
        Tensor x = Memory.Matrix(new float[Rows * Hidden], Rows, Hidden), targets = Memory.Vector([1, 2, -100, 4, 6], DType.I32), nll = Memory.Output(1, Rows);
        Workspace workspace = Memory.Workspace(Backend.LinearCrossEntropyWorkspaceBytes(DType.F32, WeightFormat.F32, Rows, Hidden, Vocab));
        Backend.LinearCrossEntropy(
            nll, Memory.Vector(new int[Rows], DType.I32), Memory.Output(Rows, Hidden), Memory.Output(Vocab, Hidden), x, weight, targets, trainedRows, 1, default, in workspace);
        Backend.Synchronize();
        Memory.Read(nll).Should().Equal([MathF.Log(7), MathF.Log(7), 0, MathF.Log(7), MathF.Log(7)], (a, b) => Math.Abs(a - b) < 1e-6f);
    }

    [Fact]
    public void NormAndUpdates()
    {
        const int Rows = 2, Width = 9;
        Tensor x = Memory.Matrix(Numbers.Random(124, Rows * Width), Rows, Width), rstd = Memory.Output(Rows, 1), weight = Memory.Output(1, Width);
        Backend.RmsNormForward(Memory.Output(Rows, Width), Memory.Output(Rows, Width), rstd, x, x, weight, 1, 1e-5f);
        Backend.RmsNormBackward(x, weight, x, x, x, rstd, weight, 1, 1e-5f);
        Tensor sum = Memory.Output(1, 1), p = Memory.Output(1, 300);
        Backend.AdamWStep(p, Memory.Output(1, 300), Memory.Vector(new float[300]), p, new AdamWArguments(0.1f, 0.9f, 0.99f, 1e-8f, 0, 1, 1));
        Backend.SumOfSquares(sum, Memory.Vector([3, 4]));
        Memory.Read(sum).Should().Equal(25);
    }
}
