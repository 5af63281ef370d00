using FineTuneCore.Backends;
using FineTuneCore.Conformance.Tests.Devices;
using FineTuneCore.Conformance.Tests.References;
using FineTuneCore.Tensors;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Conformance.Tests.Ops;

/// <summary>The linear layer over weight formats and adapters.</summary>
public abstract class LinearTests<TDevice> : OpTests<TDevice>
    where TDevice : TestDevice, new()
{
    [Fact]
    public void TheReferencesGeneratorIsPhilox() =>
        LinearReference.Philox([0, 0, 0, 0], 0, 0).Should().Equal(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u);

    /// <summary>Rank 0 is no adapter. Adapters: 1 on all rows; 2 leave rows between and behind them without one.</summary>
    [Theory]
    [InlineData(QuantReference.F32, 1, 1, 1, 0, 0, 0f, 1, false)]
    [InlineData(QuantReference.F32, 67, 131, 257, 0, 0, 0f, 1, false)]
    [InlineData(QuantReference.F32, 5, 64, 96, 4, 1, 0f, 1, false)]
    [InlineData(QuantReference.F32, 70, 65, 67, 17, 1, 0.3f, 1, false)]
    [InlineData(QuantReference.F32, 41, 70, 64, 3, 2, 0.25f, 1, false)]
    [InlineData(QuantReference.Bf16, 33, 40, 72, 8, 1, 0f, 1, false)]
    [InlineData(QuantReference.Nf4, 19, 37, 53, 0, 0, 0f, 1, false)]
    [InlineData(QuantReference.Nf4Nested, 66, 130, 160, 5, 1, 0.1f, 1, false)]
    [InlineData(QuantReference.Int8, 17, 33, 65, 2, 1, 0f, 1, false)]
    [InlineData(QuantReference.Affine4, 20, 48, 128, 4, 1, 0.2f, 32, false)]
    [InlineData(QuantReference.Affine3, 9, 31, 96, 4, 2, 0f, 32, false)]
    [InlineData(QuantReference.Affine2, 65, 12, 64, 0, 0, 0f, 1, false)]
    [InlineData(QuantReference.Nf4, 1, 7, 130, 0, 0, 0f, 1, false)]
    [InlineData(QuantReference.Nf4Nested, 13, 6, 67, 18, 1, 0.2f, 1, false)]
    [InlineData(QuantReference.F32, 16, 33, 257, 3, 2, 0f, 1, false)]
    [InlineData(QuantReference.Bf16, 2, 9, 64, 4, 1, 0f, 1, true)]
    [InlineData(QuantReference.F32, 17, 40, 72, 6, 1, 0f, 1, true)]
    [InlineData(QuantReference.Bf16, 66, 70, 96, 8, 1, 0.2f, 1, true)]
    [InlineData(QuantReference.Nf4Nested, 18, 65, 128, 4, 2, 0.1f, 1, true)]
    [InlineData(QuantReference.Affine4, 18, 33, 64, 4, 1, 0f, 32, true)]
    public void ForwardAndBackwardEqualTheReference(string format, int m, int n, int k, int rank, int adapters, float dropout, int pool, bool bf16)
    {
        DType type = TypeOf(bf16);
        float[] x = Numbers.Random(51, m * k, 1f, type), dy = Numbers.Random(52, m * n, 1f, type), bias = Numbers.Random(53, n);
        WeightMatrix weight = QuantReference.Weight(Memory, format, n, k, out float[] w);
        ReferenceSegment[] segments = Segments(m, n, k, rank, adapters, dropout, pool);
        uint[] samples = [.. Enumerable.Range(0, m).Select(i => (uint)i / 7 * 13)], positions = [.. Enumerable.Range(0, m).Select(i => (uint)i % 7)];
        LinearReference Reference(Func<double, double> round, Func<double, double> word) => new(m, n, k, x, [.. w.Select(v => (float)word(v))], dy, bias, segments, round, word) { Samples = samples, Positions = positions, Step = 3 };
        LinearReference exact = Reference(v => v, v => v), naive = Reference(v => (float)v, WordOf(type));
        exact.Run();
        naive.Run();

        Tensor xs = Memory.Matrix(x, m, k, type, gap: 3), dys = Memory.Matrix(dy, m, n, type, gap: 4), y = Memory.Output(m, n, type, gap: 2), dx = Memory.Output(m, k, type, gap: 1);
        LoraSegmentArguments[] arguments = [.. segments.Select(Arguments)];
        var rows = new DropoutRows(Memory.Vector(samples, DType.I32), Memory.Vector(positions, DType.I32), 3);
        Workspace workspace = Memory.Workspace(Backend.LinearWorkspaceBytes(type, weight.Format, 0, m, k, n, segments.Sum(s => s.Rank)));
        Backend.LinearForward(y, xs, weight, Memory.Vector(bias), arguments, in rows, accumulate: false, in workspace);
        Accuracy.Check(Memory.Read(y), exact.Y, naive.Y, "y", 0, type);

        Tensor dweight = Memory.Matrix(new float[n * k], n, k, DType.F32, gap: 2), dbias = Memory.Vector(new float[n]);
        Backend.LinearBackward(dx, dweight, dbias, dys, xs, weight, arguments, in rows, accumulate: false, in workspace);
        Accuracy.Check(Memory.Read(dx), exact.Dx, naive.Dx, "dx", 0, type);
        Accuracy.Check(Memory.Read(dweight), exact.Dweight, naive.Dweight, "dweight");
        Accuracy.Check(Memory.Read(dbias), exact.Dbias, naive.Dbias, "dbias");
        for (int i = 0; i < segments.Length; i++)
        {
            Accuracy.Check(Memory.Read(arguments[i].Da), exact.Da[i], naive.Da[i], $"da {i}");
            Accuracy.Check(Memory.Read(arguments[i].Db), exact.Db[i], naive.Db[i], $"db {i}");
        }
    }

    [Fact]
    public void AccumulateAddsToWhatIsThere()
    {
        const int M = 5, N = 70, K = 33;
        float[] x = Numbers.Random(54, M * K), before = Numbers.Random(55, M * N), dy = Numbers.Random(56, M * N), dxBefore = Numbers.Random(57, M * K);
        WeightMatrix weight = QuantReference.Weight(Memory, QuantReference.F32, N, K, out float[] w);
        var exact = new LinearReference(M, N, K, x, w, dy, null, [], v => v, v => v) { Samples = [], Positions = [] };
        var naive = new LinearReference(M, N, K, x, w, dy, null, [], v => (float)v, v => v) { Samples = [], Positions = [] };
        exact.Run();
        naive.Run();
        Workspace workspace = Memory.Workspace(Backend.LinearWorkspaceBytes(DType.F32, WeightFormat.F32, 0, M, K, N, 0));
        Tensor y = Memory.Matrix(before, M, N), dx = Memory.Matrix(dxBefore, M, K);
        Backend.LinearForward(y, Memory.Matrix(x, M, K), weight, default, [], default, accumulate: true, in workspace);
        Accuracy.Check(Memory.Read(y), [.. exact.Y.Select((v, i) => v + before[i])], [.. naive.Y.Select((v, i) => v + before[i])], "y");
        Backend.LinearBackward(dx, default, default, Memory.Matrix(dy, M, N), default, weight, [], default, accumulate: true, in workspace);
        Accuracy.Check(Memory.Read(dx), [.. exact.Dx.Select((v, i) => v + dxBefore[i])], [.. naive.Dx.Select((v, i) => v + dxBefore[i])], "dx");
    }

    [Fact]
    public void NoRowsAreNoWork()
    {
        WeightMatrix weight = QuantReference.Weight(Memory, QuantReference.F32, 8, 8, out _);
        Tensor y = Memory.Output(0, 8), x = Memory.Output(0, 8);
        Backend.LinearForward(y, x, weight, default, [], default, accumulate: false, Memory.Workspace(1 << 20));
        Backend.Synchronize();
    }

    [Fact]
    public void TheStepOfTheDropoutMayStandOnTheDevice()
    {
        const int M = 9, N = 10, K = 40;
        WeightMatrix weight = QuantReference.Weight(Memory, QuantReference.F32, N, K, out _);
        LoraSegmentArguments[] segments = [Arguments(Segments(M, N, K, 3, 1, 0.4f, 1)[0])];
        Tensor x = Memory.Matrix(Numbers.Random(58, M * K), M, K), index = Memory.Vector(Enumerable.Range(0, M).ToArray(), DType.I32);
        Tensor numbers = Memory.Vector<uint>([0, 5, 0, 0], DType.I32);
        Workspace workspace = Memory.Workspace(Backend.LinearWorkspaceBytes(DType.F32, WeightFormat.F32, 0, M, K, N, 3));
        float[] Run(DropoutRows rows)
        {
            Tensor y = Memory.Output(M, N);
            Backend.LinearForward(y, x, weight, default, segments, in rows, accumulate: false, in workspace);
            return Memory.Read(y);
        }

        float[] fifth = Run(new DropoutRows(index, index, 5));
        Run(new DropoutRows(index, index, 1, numbers)).Should().Equal(fifth);
        Run(new DropoutRows(index, index, 1)).Should().NotEqual(fifth);
    }

    private static ReferenceSegment[] Segments(int m, int n, int k, int rank, int adapters, float dropout, int pool)
    {
        ReferenceSegment Segment(int i, int begin, int end) => new(
            begin, end, rank + i, Numbers.Random(60 + i, (rank + i) * (k / pool)), Numbers.Random(70 + i, n * (rank + i)), 0.75f + i, dropout, 0x1234_5678_9abcUL + (ulong)i, pool);
        return adapters switch
        {
            0 => [],
            1 => [Segment(0, 0, m)],
            _ => [Segment(0, m / 2, m - 2), Segment(1, 1, m / 3)],
        };
    }

    private LoraSegmentArguments Arguments(ReferenceSegment s)
    {
        int groups = s.A.Length / s.Rank, n = s.B.Length / s.Rank;
        return new LoraSegmentArguments(
            s.Begin, s.End, s.Rank, s.Scaling, Memory.Matrix(s.A, s.Rank, groups), Memory.Matrix(s.B, n, s.Rank), Memory.Output(s.End - s.Begin, s.Rank),
            Memory.Matrix(new float[s.A.Length], s.Rank, groups), Memory.Matrix(new float[s.B.Length], n, s.Rank), s.Dropout, s.Seed, s.Pool > 1 ? s.Pool : 0);
    }
}

public sealed class LinearOnCpu : LinearTests<TestDevice.Cpu>;

public sealed class LinearOnOpenCl : LinearTests<TestDevice.OpenCl>;

public sealed class LinearOnASmallGpu : LinearTests<TestDevice.SmallGpu>;
