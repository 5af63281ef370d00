using BenchmarkDotNet.Attributes;
using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>An op that memory decides about, over [1024, hidden size or intermediate size] of the step and of Llama-3-8B.</summary>
public abstract class ElementwiseOp : OpBenchmark
{
    private protected const int Rows = 1024;

    [Params(1536, 4096)]
    public int Columns { get; set; }

    public override RateUnit Unit => RateUnit.Gigabytes;

    /// <summary>10⁹ bytes of so many passes over the matrix.</summary>
    private protected double Passes(int count) => 4e-9 * count * Rows * Columns;
}

/// <summary>RMSNorm with the residual added inside: x and residual are read, sum and y written; backward reads three and writes one.</summary>
public class RmsNormOp : ElementwiseOp
{
    private const float Eps = 1e-5f;
    private Tensor _x, _residual, _sum, _y, _rstd, _weight, _dy, _dx;

    public override double Work(string method) => Passes(4);

    protected override void Prepare()
    {
        (_x, _residual, _dy) = (Operands.Matrix(Rows, Columns, stream: 1), Operands.Matrix(Rows, Columns, stream: 2), Operands.Matrix(Rows, Columns, stream: 3));
        (_sum, _y, _dx) = (Operands.Matrix(Rows, Columns), Operands.Matrix(Rows, Columns), Operands.Matrix(Rows, Columns));
        (_rstd, _weight) = (Operands.Contiguous(1, Rows), Operands.Contiguous(1, Columns, 4));
    }

    /// <summary>The last number of y; and that dx is at right angles to x, whose length the norm forgets.</summary>
    protected override void Check()
    {
        Forward();
        float[] x = Operands.Download(_x.RowBlock(Rows - 1, 1)), r = Operands.Download(_residual.RowBlock(Rows - 1, 1));
        double[] sum = [.. x.Zip(r, (a, b) => (double)a + b)];
        double rstd = 1 / Math.Sqrt(sum.Sum(v => v * v) / Columns + Eps);
        Near("y", Operands.Download(_y)[^1], sum[^1] * rstd * Operands.Download(_weight)[^1]);
        Backend.RmsNormBackward(_dx, default, _dy, default, _sum, _rstd, _weight, 1, Eps);
        Near("dx · x", Operands.Download(_dx.RowBlock(Rows - 1, 1)).Zip(sum, (a, b) => a * b).Sum(), 0, 1e-2);
    }

    [Benchmark]
    public void Forward() => Backend.RmsNormForward(_y, _sum, _rstd, _x, _residual, _weight, 1, Eps);

    [Benchmark]
    public void Backward() => Backend.RmsNormBackward(_dx, default, _dy, _residual, _sum, _rstd, _weight, 1, Eps);
}

/// <summary>RoPE in place on heads of 64.</summary>
public class RopeOp : ElementwiseOp
{
    private const int HeadDim = 64;
    private Tensor _x, _positions, _cos, _sin;

    public override double Work(string method) => Passes(2);

    protected override void Prepare()
    {
        _x = Operands.Matrix(Rows, Columns, stream: 1);
        _positions = Operands.Integers([.. Enumerable.Range(0, Rows)]);
        double Angle(int i) => i / (HeadDim / 2) * Math.Pow(LoraStep.RopeTheta, -2.0 * (i % (HeadDim / 2)) / HeadDim);
        Tensor Table(Func<double, double> f)
        {
            Tensor table = Operands.Contiguous(Rows, HeadDim / 2);
            Backend.Upload<float>(table, [.. Enumerable.Range(0, Rows * HeadDim / 2).Select(i => (float)f(Angle(i)))]);
            return table;
        }

        (_cos, _sin) = (Table(Math.Cos), Table(Math.Sin));
    }

    protected override void Check()
    {
        float[] before = Operands.Download(_x.RowBlock(Rows - 1, 1));
        Forward();
        double cos = Operands.Download(_cos)[^1], sin = Operands.Download(_sin)[^1];
        Near("x", Operands.Download(_x)[^1], before[^1] * cos + before[^(1 + HeadDim / 2)] * sin);
    }

    [Benchmark]
    public void Forward() => Backend.RopeForward(_x, _positions, _cos, _sin, HeadDim);
}

/// <summary>y = silu(gate) · up.</summary>
public class SwigluOp : ElementwiseOp
{
    private Tensor _gate, _up, _y, _dy, _dgate, _dup;

    public override double Work(string method) => Passes(method == nameof(Forward) ? 3 : 5);

    protected override void Prepare()
    {
        (_gate, _up, _dy) = (Operands.Matrix(Rows, Columns, stream: 1), Operands.Matrix(Rows, Columns, stream: 2), Operands.Matrix(Rows, Columns, stream: 3));
        (_y, _dgate, _dup) = (Operands.Matrix(Rows, Columns), Operands.Matrix(Rows, Columns), Operands.Matrix(Rows, Columns));
    }

    protected override void Check()
    {
        Forward();
        Backward();
        double gate = Operands.Download(_gate)[^1], up = Operands.Download(_up)[^1], dy = Operands.Download(_dy)[^1], sigmoid = 1 / (1 + Math.Exp(-gate));
        Near("y", Operands.Download(_y)[^1], gate * sigmoid * up);
        Near("dup", Operands.Download(_dup)[^1], dy * gate * sigmoid);
        Near("dgate", Operands.Download(_dgate)[^1], dy * up * sigmoid * (1 + gate * (1 - sigmoid)));
    }

    [Benchmark]
    public void Forward() => Backend.SwigluForward(_y, _gate, _up);

    [Benchmark]
    public void Backward() => Backend.SwigluBackward(_dgate, _dup, _dy, _gate, _up);
}
