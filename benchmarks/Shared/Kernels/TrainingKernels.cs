using BenchmarkDotNet.Attributes;

namespace FineTuneCore.Benchmarks.Kernels;

/// <summary>Head and cross-entropy: the loss of every row, and with dx, the gradient of their sum.</summary>
public abstract class CrossEntropyKernel : KernelBenchmark
{
    public override KernelFamily Family => KernelFamily.Loss;

    protected int Rows => Size(0);

    protected int HiddenSize => Size(1);

    protected int VocabSize => Size(2);

    protected float[] X { get; private set; } = [];

    /// <summary>[vocab size, hidden size]</summary>
    protected float[] Weight { get; private set; } = [];

    protected int[] Targets { get; private set; } = [];

    public override double Work(string method) => 2e-9 * Rows * HiddenSize * VocabSize * (method == nameof(Loss) ? 1 : 2);

    [Benchmark]
    public void Loss() => RunLoss();

    [Benchmark]
    public void LossAndGradient() => RunLossAndGradient();

    protected abstract void RunLoss();

    protected abstract void RunLossAndGradient();

    /// <summary>nll or dx.</summary>
    protected abstract float[] Result(string name);

    protected override void Prepare()
    {
        (X, Weight) = (Uniform(1, (long)Rows * HiddenSize), Uniform(2, (long)VocabSize * HiddenSize, 0.1f));
        Targets = [.. Enumerable.Range(0, Rows).Select(i => i * 31 % VocabSize)];
    }

    protected override void Check()
    {
        Loss();
        float[] nll = Result("nll");
        LossAndGradient();
        float[] both = Result("nll"), dx = Result("dx");
        foreach (int row in (int[])[0, Rows - 1])
        {
            double[] logits = [.. Enumerable.Range(0, VocabSize).Select(v => Dot(row, v))];
            double most = logits.Max(), lse = most + Math.Log(logits.Sum(l => Math.Exp(l - most)));
            Near("nll", nll[row], lse - logits[Targets[row]]);
            Near("nll with dx", both[row], lse - logits[Targets[row]]);
            foreach (int i in (int[])[0, HiddenSize / 2, HiddenSize - 1])
            {
                double expected = logits.Select((l, v) => (Math.Exp(l - lse) - (v == Targets[row] ? 1 : 0)) * Weight[v * HiddenSize + i]).Sum();
                Near($"dx[{row}, {i}]", dx[row * HiddenSize + i], expected);
            }
        }
    }

    private double Dot(int row, int v)
    {
        double sum = 0;
        for (int i = 0; i < HiddenSize; i++) sum += (double)X[row * HiddenSize + i] * Weight[v * HiddenSize + i];
        return sum;
    }
}

/// <summary>An update of as many numbers as adapters have.</summary>
public abstract class UpdateKernel : KernelBenchmark
{
    public override KernelFamily Family => KernelFamily.Optimizer;

    protected int Count => Size(0);

    protected float[] Parameter { get; private set; } = [];

    protected float[] Gradient { get; private set; } = [];

    public override double Work(string method) => 1e-9 * BytesPerNumber * Count;

    /// <summary>Read and written of parameter, gradient and state.</summary>
    private protected abstract int BytesPerNumber { get; }

    /// <summary>What the first update adds, when the state is zero before.</summary>
    private protected abstract double FirstUpdate(float gradient);

    [Benchmark]
    public void Step() => RunStep();

    protected abstract void RunStep();

    /// <summary>The parameters as they stand.</summary>
    protected abstract float[] Result();

    protected override void Prepare() => (Parameter, Gradient) = (Uniform(1, Count), Uniform(2, Count));

    protected override void Check()
    {
        Step();
        float[] after = Result();
        for (int i = 0; i < Count; i += Count / 97)
            if (Math.Abs(Gradient[i]) > 1e-3) Near($"update {i}", after[i] - Parameter[i], FirstUpdate(Gradient[i]), 1e-6);
    }
}

/// <summary>AdamW: four arrays are read, three written. First it goes by the learning rate, against the gradient's sign.</summary>
public abstract class AdamWKernel : UpdateKernel
{
    private protected override int BytesPerNumber => 7 * sizeof(float);

    private protected override double FirstUpdate(float gradient) => -LoraStep.LearningRate * Math.Sign(gradient);
}

/// <summary>The same with moments of a byte.</summary>
public abstract class AdamW8BitKernel : AdamWKernel
{
    private protected override int BytesPerNumber => 3 * sizeof(float) + 4;
}

/// <summary>SGD with momentum: three arrays are read, two written.</summary>
public abstract class SgdKernel : UpdateKernel
{
    protected const float Momentum = 0.9f;

    private protected override int BytesPerNumber => 5 * sizeof(float);

    private protected override double FirstUpdate(float gradient) => -LoraStep.LearningRate * gradient;
}

/// <summary>Σ x² over all gradients, which clipping needs.</summary>
public abstract class GradientNormKernel : KernelBenchmark
{
    public override KernelFamily Family => KernelFamily.Optimizer;

    protected int Count => Size(0);

    protected float[] X { get; private set; } = [];

    public override double Work(string method) => 4e-9 * Count;

    [Benchmark]
    public void SumOfSquares() => RunSumOfSquares();

    protected abstract void RunSumOfSquares();

    protected virtual double Tolerance => 1e-4;

    /// <summary>The sum.</summary>
    protected abstract double Result();

    protected override void Prepare() => X = Uniform(1, Count);

    protected override void Check()
    {
        SumOfSquares();
        Near("the sum", Result(), X.Sum(v => (double)v * v), Tolerance);
    }
}
