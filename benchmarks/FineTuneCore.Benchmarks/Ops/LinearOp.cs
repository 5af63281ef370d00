using BenchmarkDotNet.Attributes;
using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>A linear layer over a frozen fp32 weight: y = x Wᵀ and dx = dy W.</summary>
public class LinearOp : OpBenchmark
{
    private protected const float WeightBound = 0.05f;
    private protected Tensor _x, _y, _dy, _dx;
    private protected Workspace _workspace;
    private protected WeightMatrix _weight = null!;

    public static IEnumerable<LinearShape> Shapes => LinearShape.Models;

    [ParamsSource(nameof(Shapes))]
    public LinearShape Shape { get; set; }

    private protected virtual WeightFormat Format => WeightFormat.F32;

    private protected virtual int Rank => 0;

    public override double Work(string method) => Shape.Gigaflop;

    protected override void Prepare()
    {
        (int m, int n, int k) = Shape;
        (_x, _y) = (Operands.Matrix(m, k, stream: 2), Operands.Matrix(m, n));
        (_dy, _dx) = (Operands.Matrix(m, n, stream: 3), Operands.Matrix(m, k));
        _weight = Operands.Weight(Format, n, k, LoraStep.Uniform(1, n * k, WeightBound));
        _workspace = Operands.Workspace(Backend.LinearWorkspaceBytes(DType.F32, Format, 0, m, k, n, Rank));
    }

    protected override void Check()
    {
        float[] w = Dequantised(), x = Operands.Download(_x), dy = Operands.Download(_dy);
        Forward();
        Near("y", Operands.Download(_y)[^1], ExpectedLastY(x, w), 1e-3);
        Backward();
        Near("dx", Operands.Download(_dx)[^1], ExpectedLastDx(dy, w), 1e-3);
    }

    private protected virtual double ExpectedLastY(float[] x, float[] w)
    {
        (int m, int n, int k) = Shape;
        return Enumerable.Range(0, k).Sum(i => (double)x[(m - 1) * k + i] * w[(n - 1) * k + i]);
    }

    private protected virtual double ExpectedLastDx(float[] dy, float[] w)
    {
        (int m, int n, int k) = Shape;
        return Enumerable.Range(0, n).Sum(j => (double)dy[(m - 1) * n + j] * w[j * k + k - 1]);
    }

    private protected virtual float[] Dequantised() => Operands.Download(_weight.Data);

    [Benchmark]
    public virtual void Forward() => Backend.LinearForward(_y, _x, _weight, default, [], default, accumulate: false, _workspace);

    [Benchmark]
    public virtual void Backward() => Backend.LinearBackward(_dx, default, default, _dy, default, _weight, [], default, accumulate: false, _workspace);
}
