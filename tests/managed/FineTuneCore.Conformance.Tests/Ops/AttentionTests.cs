using FineTuneCore.Backends;
using FineTuneCore.Conformance.Tests.Devices;
using FineTuneCore.Conformance.Tests.References;
using FineTuneCore.Tensors;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Conformance.Tests.Ops;

/// <summary>Attention over key intervals: causal, windows, packed documents, a cache, empty intervals.</summary>
public abstract class AttentionTests<TDevice> : OpTests<TDevice>
    where TDevice : TestDevice, new()
{
    /// <summary>Windows: 0 is causal, n sees the last n keys, -n packs documents of n rows, 1000 leaves rows without a key.</summary>
    [Theory]
    [InlineData(1, 1, 1, 1, 1, 0, false)]
    [InlineData(17, 17, 4, 2, 8, 0, false)]
    [InlineData(33, 33, 2, 2, 64, 5, false)]
    [InlineData(40, 40, 6, 2, 80, -13, false)]
    [InlineData(1, 37, 4, 1, 16, 0, false)]
    [InlineData(5, 21, 2, 1, 129, 3, false)]
    [InlineData(18, 18, 1, 1, 256, 0, false)]
    [InlineData(19, 19, 2, 1, 16, 1000, false)]
    [InlineData(33, 33, 4, 2, 64, -7, true)]
    [InlineData(20, 30, 2, 2, 24, 6, true)]
    public void ForwardAndBackwardEqualTheReference(int queryRows, int keyRows, int heads, int keyHeads, int headDim, int window, bool bf16)
    {
        DType type = TypeOf(bf16);
        int first = keyRows - queryRows;
        float scale = 1 / MathF.Sqrt(headDim);
        int[] begin = [.. Enumerable.Range(first, queryRows).Select(at => window switch
        {
            0 => 0,
            1000 => at < first + 4 ? 0 : at + (at % 2), // every second interval is empty
            > 0 => Math.Max(0, at - window + 1),
            _ => at / -window * -window,
        })];
        for (int i = 1; i < begin.Length; i++) begin[i] = Math.Max(begin[i], begin[i - 1]);
        int qColumns = heads * headDim, kColumns = keyHeads * headDim;
        float[] q = Numbers.Random(21, queryRows * qColumns, 2f, type), k = Numbers.Random(22, keyRows * kColumns, 2f, type);
        float[] v = Numbers.Random(23, keyRows * kColumns, 1f, type), dout = Numbers.Random(24, queryRows * qColumns, 1f, type);
        var exact = new AttentionReference(queryRows, keyRows, first, heads, keyHeads, headDim, scale, begin, x => x);
        var naive = new AttentionReference(queryRows, keyRows, first, heads, keyHeads, headDim, scale, begin, x => (float)x);
        exact.Forward(q, k, v);
        naive.Forward(q, k, v);

        var shape = new AttentionShape(first, heads, keyHeads, headDim, scale);
        Tensor qs = Memory.Matrix(q, queryRows, qColumns, type, gap: 4), ks = Memory.Matrix(k, keyRows, kColumns, type, gap: 2), vs = Memory.Matrix(v, keyRows, kColumns, type, gap: 2);
        Tensor o = Memory.Output(queryRows, qColumns, type, gap: 3), lse = Memory.Output(queryRows, heads);
        Tensor keyBegin = window == 0 ? default : Memory.Vector(begin, DType.I32);
        Backend.AttentionForward(o, lse, qs, ks, vs, keyBegin, in shape, Memory.Workspace(Backend.AttentionWorkspaceBytes(type, queryRows, keyRows, in shape, backward: false)));
        Backend.Synchronize();
        Accuracy.Check(Memory.Read(o), exact.Output, naive.Output, "o", FunctionUlps, type);
        float[] lses = Memory.Read(lse);
        lses.Select(float.IsNegativeInfinity).Should().Equal(exact.Lse.Select(double.IsNegativeInfinity), "an empty interval has no sum");
        Accuracy.Check([.. lses.Where(float.IsFinite)], [.. exact.Lse.Where(double.IsFinite)], [.. naive.Lse.Where(double.IsFinite)], "lse", FunctionUlps);

        float[] givenO = [.. exact.Output.Select(x => Numbers.Rounded((float)x, type))], givenLse = [.. exact.Lse.Select(x => (float)x)];
        exact.Backward(q, k, v, dout, givenO, givenLse);
        naive.Backward(q, k, v, dout, givenO, givenLse);
        Tensor dq = Memory.Output(queryRows, qColumns, type, gap: 1), dk = Memory.Output(keyRows, kColumns, type, gap: 3), dv = Memory.Output(keyRows, kColumns, type, gap: 3);
        Backend.AttentionBackward(
            dq, dk, dv, Memory.Matrix(dout, queryRows, qColumns, type, gap: 2), qs, ks, vs, Memory.Matrix(givenO, queryRows, qColumns, type),
            Memory.Matrix(givenLse, queryRows, heads), keyBegin, in shape,
            Memory.Workspace(Backend.AttentionWorkspaceBytes(type, queryRows, keyRows, in shape, backward: true)));
        Backend.Synchronize();
        Accuracy.Check(Memory.Read(dq), exact.Dq, naive.Dq, "dq", FunctionUlps, type);
        Accuracy.Check(Memory.Read(dk), exact.Dk, naive.Dk, "dk", FunctionUlps, type);
        Accuracy.Check(Memory.Read(dv), exact.Dv, naive.Dv, "dv", FunctionUlps, type);
    }

    [Fact]
    public void ALongRowIsSummedInTheSameOrderEveryTime()
    {
        const int Rows = 150, Heads = 2, HeadDim = 32;
        var shape = new AttentionShape(0, Heads, Heads, HeadDim, 0.2f);
        Tensor q = Memory.Matrix(Numbers.Random(25, Rows * Heads * HeadDim), Rows, Heads * HeadDim), o = Memory.Output(Rows, Heads * HeadDim);
        Workspace workspace = Memory.Workspace(Backend.AttentionWorkspaceBytes(DType.F32, Rows, Rows, in shape, backward: false));
        Backend.AttentionForward(o, default, q, q, q, default, in shape, in workspace);
        float[] once = Memory.Read(o);
        Backend.AttentionForward(o, default, q, q, q, default, in shape, in workspace);
        Memory.Read(o).Should().Equal(once);
    }
}

public sealed class AttentionOnCpu : AttentionTests<TestDevice.Cpu>;

public sealed class AttentionOnOpenCl : AttentionTests<TestDevice.OpenCl>;

public sealed class AttentionOnASmallGpu : AttentionTests<TestDevice.SmallGpu>;
