namespace FineTuneCore.Benchmarks.Kernels;

/// <summary>An op over [rows, columns] that memory decides about.</summary>
public abstract class ElementwiseKernel : ForwardBackwardKernel
{
    public override KernelFamily Family => KernelFamily.Elementwise;

    protected int Rows => Size(0);

    protected int Columns => Size(1);

    /// <summary>10⁹ bytes of so many passes over the matrix.</summary>
    private protected double Passes(int count) => 4e-9 * count * Rows * Columns;

    private protected float[] Matrix(ulong stream) => Uniform(stream, (long)Rows * Columns);
}

/// <summary>RMSNorm with the residual added inside: x and residual are read, sum and y written; backward reads dy, dsum and sum and writes dx.</summary>
public abstract class RmsNormKernel : ElementwiseKernel
{
    protected const float Eps = LoraStep.RmsNormEps;

    protected float[] X { get; private set; } = [];

    protected float[] Residual { get; private set; } = [];

    protected float[] Dy { get; private set; } = [];

    protected float[] Dsum { get; private set; } = [];

    protected float[] Weight { get; private set; } = [];

    public override double Work(string method) => Passes(4);

    protected override void Prepare() => (X, Residual, Dy, Dsum, Weight) = (Matrix(1), Matrix(2), Matrix(3), Matrix(4), Uniform(5, Columns));

    protected override void Ready() => Forward();

    protected override void Check()
    {
        double Sum(int row, int i) => (double)X[row * Columns + i] + Residual[row * Columns + i];
        double Mean(Func<int, double> of) => Enumerable.Range(0, Columns).Sum(of) / Columns;
        double Rstd(int row) => 1 / Math.Sqrt(Mean(i => Sum(row, i) * Sum(row, i)) + Eps);
        Forward();
        Near("y", Result("y"), Rows, Columns, (row, i) => Sum(row, i) * Rstd(row) * Weight[i]);
        Backward();
        Near("dx", Result("dx"), Rows, Columns, (row, i) =>
        {
            double rstd = Rstd(row), along = Mean(j => (double)Dy[row * Columns + j] * Weight[j] * Sum(row, j));
            return rstd * (Dy[row * Columns + i] * Weight[i] - Sum(row, i) * rstd * rstd * along) + Dsum[row * Columns + i];
        });
    }
}

/// <summary>RoPE over heads side by side, positions counting up; backward turns the other way.</summary>
public abstract class RopeKernel : ForwardBackwardKernel
{
    public override KernelFamily Family => KernelFamily.Elementwise;

    protected int Rows => Size(0);

    protected int Heads => Size(1);

    protected int HeadDim => Size(2);

    protected int Columns => Heads * HeadDim;

    protected float[] X { get; private set; } = [];

    protected float[] Dy { get; private set; } = [];

    /// <summary>[rows, head dim / 2]</summary>
    protected float[] Cos { get; private set; } = [];

    protected float[] Sin { get; private set; } = [];

    public override double Work(string method) => 2 * 4e-9 * Rows * Columns;

    protected override void Prepare()
    {
        int half = HeadDim / 2;
        float[] Table(Func<double, double> f) =>
            [.. Enumerable.Range(0, Rows * half).Select(i => (float)f(i / half * Math.Pow(LoraStep.RopeTheta, -2.0 * (i % half) / HeadDim)))];
        (X, Dy, Cos, Sin) = (Uniform(1, (long)Rows * Columns), Uniform(2, (long)Rows * Columns), Table(Math.Cos), Table(Math.Sin));
    }

    protected override void Check()
    {
        Forward();
        Near("x", Result("x"), Rows, Columns, (row, column) => Turned(X, row, column, 1));
        Backward();
        Near("dx", Result("dx"), Rows, Columns, (row, column) => Turned(Dy, row, column, -1));
    }

    private double Turned(float[] x, int row, int column, int direction)
    {
        int half = HeadDim / 2, i = column % HeadDim, at = row * Columns + column;
        (double cos, double sin) = (Cos[row * half + i % half], direction * Sin[row * half + i % half]);
        return i < half ? x[at] * cos - x[at + half] * sin : x[at] * cos + x[at - half] * sin;
    }
}

/// <summary>y = silu(gate) · up.</summary>
public abstract class SwigluKernel : ElementwiseKernel
{
    protected float[] Gate { get; private set; } = [];

    protected float[] Up { get; private set; } = [];

    protected float[] Dy { get; private set; } = [];

    public override double Work(string method) => Passes(method == nameof(Forward) ? 3 : 5);

    protected override void Prepare() => (Gate, Up, Dy) = (Matrix(1), Matrix(2), Matrix(3));

    protected override void Check()
    {
        double Sigmoid(int at) => 1 / (1 + Math.Exp(-Gate[at]));
        int At(int row, int column) => row * Columns + column;
        Forward();
        Backward();
        Near("y", Result("y"), Rows, Columns, (r, c) => Gate[At(r, c)] * Sigmoid(At(r, c)) * Up[At(r, c)]);
        Near("dup", Result("dup"), Rows, Columns, (r, c) => Dy[At(r, c)] * Gate[At(r, c)] * Sigmoid(At(r, c)));
        Near("dgate", Result("dgate"), Rows, Columns, (r, c) => Dy[At(r, c)] * Up[At(r, c)] * Sigmoid(At(r, c)) * (1 + Gate[At(r, c)] * (1 - Sigmoid(At(r, c)))));
    }
}

/// <summary>Rows of a table by token id; backward adds rows to a table's gradient, which is read and written.</summary>
public abstract class EmbeddingKernel : ElementwiseKernel
{
    protected int VocabSize => Size(2);

    protected int[] Ids { get; private set; } = [];

    protected float[] Weight { get; private set; } = [];

    protected float[] Dy { get; private set; } = [];

    public override double Work(string method) => Passes(method == nameof(Forward) ? 2 : 3);

    protected override void Prepare()
    {
        // Spread over the table, some twice, as the tokens of a text are.
        Ids = [.. Enumerable.Range(0, Rows).Select(i => (int)(i / 2 * 7919L % VocabSize))];
        (Weight, Dy) = (Uniform(1, (long)VocabSize * Columns), Matrix(2));
    }

    protected override void Check()
    {
        Forward();
        Near("y", Result("y"), Rows, Columns, (row, i) => Weight[Ids[row] * Columns + i], 0);
        Backward();
        Near("dweight", Result("dweight"), VocabSize, Columns, (id, i) => Enumerable.Range(0, Rows).Where(r => Ids[r] == id).Sum(r => (double)Dy[r * Columns + i]), samples: 64);
    }
}
