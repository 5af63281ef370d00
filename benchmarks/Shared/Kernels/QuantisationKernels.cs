using BenchmarkDotNet.Attributes;

namespace FineTuneCore.Benchmarks.Kernels;

/// <summary>A weight to codes and back; the rate counts the fp32 side and the codes.</summary>
public abstract class QuantisationKernel : KernelBenchmark
{
    /// <summary>Numbers that share a scale.</summary>
    protected const int Group = 64;

    public override KernelFamily Family => KernelFamily.Quantisation;

    protected int Rows => Size(0);

    protected int Columns => Size(1);

    protected float[] X { get; private set; } = [];

    public override double Work(string method) => 4.5e-9 * Rows * Columns;

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

    protected override void Prepare() => X = Uniform(1, (long)Rows * Columns);

    protected override void Ready() => Quantize();

    protected override void Check()
    {
        Quantize();
        Dequantize();
        float[] back = Result();
        for (int first = 0; first < X.Length; first += Group)
        {
            double allowed = Allowed(X.AsSpan(first, Group)) * 1.001 + 1e-6;
            for (int i = first; i < first + Group; i++)
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
        float absmax = 0;
        foreach (float value in group) absmax = Math.Max(absmax, Math.Abs(value));
        return HalfGap * absmax;
    }
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
