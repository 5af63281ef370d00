using BenchmarkDotNet.Attributes;

namespace FineTuneCore.Benchmarks.Kernels;

/// <summary>A weight to codes and back; the rate counts the fp32 side and the codes.</summary>
public abstract class QuantisationKernel : KernelBenchmark
{
    /// <summary>Numbers of a block or group.</summary>
    protected const int Group = 64;

    public override KernelFamily Family => KernelFamily.Quantisation;

    /// <summary>Numbers that share a scale.</summary>
    private protected virtual int Shared => Group;

    /// <summary>Of a number.</summary>
    private protected virtual double CodeBytes => 0.5;

    protected int Rows => Size(0);

    protected int Columns => Size(1);

    protected float[] X { get; private set; } = [];

    public override double Work(string method) => (sizeof(float) + CodeBytes) * 1e-9 * Rows * Columns;

    [Benchmark]
    public void Quantize() => RunQuantize();

    /// <summary>Of what <see cref="Quantize"/> wrote.</summary>
    [Benchmark]
    public void Dequantize() => RunDequantize();

    protected abstract void RunQuantize();

    protected abstract void RunDequantize();

    /// <summary>What came back.</summary>
    protected abstract float[] Result();

    /// <summary>The most that rounding to the nearest code may be off in a group of these numbers.</summary>
    private protected abstract double Allowed(ReadOnlySpan<float> group);

    private protected static double Absmax(ReadOnlySpan<float> group)
    {
        float absmax = 0;
        foreach (float value in group) absmax = Math.Max(absmax, Math.Abs(value));
        return absmax;
    }

    protected override void Prepare() => X = Uniform(1, (long)Rows * Columns);

    protected override void Ready() => Quantize();

    protected override void Check()
    {
        Quantize();
        Dequantize();
        float[] back = Result();
        for (int first = 0; first < X.Length; first += Shared)
        {
            double allowed = Allowed(X.AsSpan(first, Shared)) * 1.001 + 1e-6;
            for (int i = first; i < first + Shared; i++)
                if (!(Math.Abs(X[i] - back[i]) <= allowed)) throw new WrongResultException($"{X[i]} came back as {back[i]}, expected within {allowed:G3}");
        }
    }
}

/// <summary>NF4: half of the widest gap between two codes, of the block's absmax.</summary>
public abstract class Nf4Kernel : QuantisationKernel
{
    private protected override double Allowed(ReadOnlySpan<float> group)
    {
        const double HalfGap = (1 - 0.6961928) / 2;
        return HalfGap * Absmax(group);
    }
}

/// <summary>A byte a number, a scale a row: half a step of 127 to the row's absmax.</summary>
public abstract class Int8Kernel : QuantisationKernel
{
    protected const int Steps = 127;

    private protected override int Shared => Columns;

    private protected override double CodeBytes => 1;

    private protected override double Allowed(ReadOnlySpan<float> group) => Absmax(group) / Steps / 2;
}

/// <summary>Four bits between the group's least and largest number: half a step.</summary>
public abstract class AffineKernel : QuantisationKernel
{
    protected const int Bits = 4;
    protected const int Steps = (1 << Bits) - 1;

    private protected override double Allowed(ReadOnlySpan<float> group)
    {
        (float least, float most) = (float.MaxValue, float.MinValue);
        foreach (float value in group) (least, most) = (Math.Min(least, value), Math.Max(most, value));
        return (most - least) / Steps / 2;
    }
}

/// <summary>A QA-LoRA adapter of rank 16 into the minima of an affine weight with groups of 64 columns: minimum += scaling / 64 · B A.</summary>
public abstract class AffineMergeKernel : KernelBenchmark
{
    protected const int Group = 64;
    protected const int Rank = LoraStep.Rank;
    protected const float Scaling = 2;

    public override KernelFamily Family => KernelFamily.Quantisation;

    protected int Rows => Size(0);

    protected int Columns => Size(1);

    protected int Groups => Columns / Group;

    /// <summary>[rows, groups]</summary>
    protected float[] Minimum { get; private set; } = [];

    /// <summary>[rows, rank]</summary>
    protected float[] B { get; private set; } = [];

    /// <summary>[rank, groups]</summary>
    protected float[] A { get; private set; } = [];

    public override double Work(string method) => 4e-9 * (2.0 * Rows * Groups + Rank * (Rows + Groups));

    [Benchmark]
    public void Merge() => RunMerge();

    protected abstract void RunMerge();

    /// <summary>The minima as they stand.</summary>
    protected abstract float[] Result();

    protected override void Prepare() => (Minimum, B, A) = (Uniform(1, Rows * Groups), Uniform(2, Rows * Rank), Uniform(3, Rank * Groups));

    protected override void Check()
    {
        Merge();
        Near("minimum", Result(), Rows, Groups, (row, group) =>
            Minimum[row * Groups + group] + (double)Scaling / Group * Enumerable.Range(0, Rank).Sum(r => (double)B[row * Rank + r] * A[r * Groups + group]));
    }
}
