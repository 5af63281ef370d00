using BenchmarkDotNet.Attributes;
using FineTuneCore.Backends;
using FineTuneCore.Models;
using FineTuneCore.Tensors;
using Nf4Tables = FineTuneCore.Kernels.Nf4Tables;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>NF4 quantisation and dequantisation of a square weight; the rate counts the fp32 side and the codes.</summary>
public class Nf4Op : OpBenchmark
{
    private Tensor _x, _y;
    private WeightMatrix _weight = null!;

    [Params(4096)]
    public int Size { get; set; }

    public override RateUnit Unit => RateUnit.Gigabytes;

    public override double Work(string method) => 4.5e-9 * Size * Size;

    protected override void Prepare()
    {
        (_x, _y) = (Operands.Contiguous(Size, Size, 1), Operands.Contiguous(Size, Size));
        _weight = Operands.Weight(WeightFormat.Nf4, Size, Size, Operands.Download(_x));
    }

    /// <summary>Every number comes back within half of the widest gap between two codes, of its block's absmax.</summary>
    protected override void Check()
    {
        Quantize();
        Dequantize();
        float[] x = Operands.Download(_x), y = Operands.Download(_y), absmax = Operands.Download(_weight.Absmax);
        const double HalfGap = (1 - 0.6961928) / 2 + 1e-6;
        for (int i = 0; i < x.Length; i++)
            if (Math.Abs(x[i] - y[i]) > HalfGap * absmax[i / Nf4Tables.BlockSize]) throw new InvalidOperationException($"{x[i]} came back as {y[i]}");
    }

    [Benchmark]
    public void Quantize() => Backend.Nf4Quantize(_weight.Data, _weight.Absmax, Tensor.Vector(_x.Buffer!, 0, (long)Size * Size), (long)Size * Size);

    [Benchmark]
    public void Dequantize() => Backend.Dequantize(_y, _weight, 0, Size);
}
