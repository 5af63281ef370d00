using BenchmarkDotNet.Attributes;
using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>An AdamW update of as many numbers as an adapter has: four arrays are read, three written.</summary>
public class AdamWOp : OpBenchmark
{
    private static readonly AdamWArguments Arguments = new(1e-3f, 0.9f, 0.999f, 1e-8f, WeightDecay: 0, GradientScale: 1, Step: 1);
    private Tensor _parameter, _m, _v, _gradient;

    [Params(976_896, 16_777_216)]
    public int Count { get; set; }

    public override RateUnit Unit => RateUnit.Gigabytes;

    public override double Work(string method) => 7 * 4e-9 * Count;

    protected override void Prepare() =>
        (_parameter, _m, _v, _gradient) = (Operands.Contiguous(1, Count, 1), Operands.Contiguous(1, Count), Operands.Contiguous(1, Count), Operands.Contiguous(1, Count, 2));

    protected override void Check()
    {
        double before = Operands.Download(_parameter)[^1], gradient = Operands.Download(_gradient)[^1];
        Step();
        Near("the first update", Operands.Download(_parameter)[^1] - before, -1e-3 * Math.Sign(gradient), 1e-6);
    }

    [Benchmark]
    public void Step() => Backend.AdamWStep(_parameter, _m, _v, _gradient, in Arguments);
}
