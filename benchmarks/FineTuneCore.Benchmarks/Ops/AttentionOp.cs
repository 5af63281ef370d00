using BenchmarkDotNet.Attributes;
using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>Heads and tokens of one causal sequence.</summary>
public readonly record struct AttentionCase(int Tokens, int Heads, int KeyValueHeads, int HeadDim)
{
    public override string ToString() => $"{Tokens} tokens, {Heads}/{KeyValueHeads} heads of {HeadDim}";
}

/// <summary>Causal attention with grouped key-value heads; the rate counts the lower triangle only.</summary>
public class AttentionOp : OpBenchmark
{
    private Tensor _q, _k, _v, _o, _lse, _do, _dq, _dk, _dv, _keyBegin;
    private AttentionShape _shape;
    private Workspace _workspace;

    public static IEnumerable<AttentionCase> Cases => [new(256, 9, 3, 64), new(2048, 8, 2, 64), new(2048, 8, 2, 128)];

    [ParamsSource(nameof(Cases))]
    public AttentionCase Case { get; set; }

    public override double Work(string method)
    {
        double product = 1e-9 * Case.Heads * Case.Tokens * Case.Tokens * Case.HeadDim; // half of 2 T² d
        return method == nameof(Forward) ? 2 * product : 5 * product;
    }

    protected override void Prepare()
    {
        (int tokens, int heads, int kvHeads, int dim) = Case;
        Tensor Many(int h, ulong stream = 0) => Operands.Matrix(tokens, h * dim, stream: stream);
        (_q, _k, _v, _o, _do) = (Many(heads, 1), Many(kvHeads, 2), Many(kvHeads, 3), Many(heads), Many(heads, 4));
        (_dq, _dk, _dv, _lse) = (Many(heads), Many(kvHeads), Many(kvHeads), Operands.Contiguous(tokens, heads));
        _keyBegin = Operands.Integers(new int[tokens]);
        _shape = new AttentionShape(0, heads, kvHeads, dim, (float)(1 / Math.Sqrt(dim)));
        _workspace = Operands.Workspace(Math.Max(
            Backend.AttentionWorkspaceBytes(DType.F32, tokens, tokens, in _shape, backward: false),
            Backend.AttentionWorkspaceBytes(DType.F32, tokens, tokens, in _shape, backward: true)));
    }

    /// <summary>The last number of the last row, from its softmax; and that dv of all rows adds up to do, as probabilities of a row add up to 1.</summary>
    protected override void Check()
    {
        Forward();
        Backward();
        (int tokens, int heads, int kvHeads, int dim) = Case;
        float[] q = Operands.Download(_q), k = Operands.Download(_k), v = Operands.Download(_v);
        double[] weights = [.. Enumerable.Range(0, tokens).Select(j => Math.Exp(_shape.Scale * Enumerable.Range(0, dim).Sum(
            i => (double)q[(tokens - 1) * heads * dim + (heads - 1) * dim + i] * k[j * kvHeads * dim + (kvHeads - 1) * dim + i])))];
        double expected = Enumerable.Range(0, tokens).Sum(j => weights[j] * v[(j + 1) * kvHeads * dim - 1]) / weights.Sum();
        Near("o", Operands.Download(_o)[^1], expected);
        Near("the sum of dv", Operands.Download(_dv).Sum(x => (double)x), Operands.Download(_do).Sum(x => (double)x), 1e-2);
    }

    [Benchmark]
    public void Forward() => Backend.AttentionForward(_o, _lse, _q, _k, _v, _keyBegin, in _shape, in _workspace);

    [Benchmark]
    public void Backward() => Backend.AttentionBackward(_dq, _dk, _dv, _do, _q, _k, _v, _o, _lse, _keyBegin, in _shape, in _workspace);
}
