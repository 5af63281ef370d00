using BenchmarkDotNet.Attributes;
using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>A linear layer with an adapter of rank 16 inside the product; backward with the gradients of A and B.</summary>
public class LoraLinearOp : LinearOp
{
    private const float Scaling = 2;
    private Tensor _a, _b, _s, _da, _db;

    private protected override int Rank => LoraStep.Rank;

    public override double Work(string method)
    {
        double adapter = 2e-9 * Shape.M * Rank * (Shape.N + Shape.K);
        return Shape.Gigaflop + (method == nameof(Forward) ? adapter : 2 * adapter);
    }

    protected override void Prepare()
    {
        base.Prepare();
        (_a, _b, _s) = (Operands.Contiguous(Rank, Shape.K, 4, WeightBound), Operands.Contiguous(Shape.N, Rank, 5, WeightBound), Operands.Contiguous(Shape.M, Rank));
        (_da, _db) = (Operands.Contiguous(Rank, Shape.K), Operands.Contiguous(Shape.N, Rank));
    }

    private protected override double ExpectedLastY(float[] x, float[] w)
    {
        float[] a = Operands.Download(_a), b = Operands.Download(_b);
        (int m, int n, int k) = Shape;
        double S(int r) => Enumerable.Range(0, k).Sum(i => (double)x[(m - 1) * k + i] * a[r * k + i]);
        return base.ExpectedLastY(x, w) + Scaling * Enumerable.Range(0, Rank).Sum(r => S(r) * b[(n - 1) * Rank + r]);
    }

    private protected override double ExpectedLastDx(float[] dy, float[] w)
    {
        float[] a = Operands.Download(_a), b = Operands.Download(_b);
        (int m, int n, int k) = Shape;
        double Ds(int r) => Scaling * Enumerable.Range(0, n).Sum(j => (double)dy[(m - 1) * n + j] * b[j * Rank + r]);
        return base.ExpectedLastDx(dy, w) + Enumerable.Range(0, Rank).Sum(r => Ds(r) * a[(r + 1) * k - 1]);
    }

    [Benchmark]
    public override void Forward()
    {
        LoraSegmentArguments segment = Segment();
        Backend.LinearForward(_y, _x, _weight, default, new(in segment), default, accumulate: false, _workspace);
    }

    [Benchmark]
    public override void Backward()
    {
        LoraSegmentArguments segment = Segment();
        Backend.LinearBackward(_dx, default, default, _dy, _x, _weight, new(in segment), default, accumulate: false, _workspace);
    }

    private LoraSegmentArguments Segment() => new(0, Shape.M, Rank, Scaling, _a, _b, _s, _da, _db, 0, 0);
}
