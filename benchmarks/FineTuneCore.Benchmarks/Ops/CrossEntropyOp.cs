using BenchmarkDotNet.Attributes;
using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>Head and cross-entropy in chunks: the loss alone, and with dx.</summary>
public class CrossEntropyOp : OpBenchmark
{
    private const int Rows = 512;
    private const int HiddenSize = 576;
    private Tensor _x, _nll, _dx, _targets;
    private WeightMatrix _weight = null!;
    private Workspace _workspace;

    [Params(8192, 49152)]
    public int VocabSize { get; set; }

    public override double Work(string method) => 2e-9 * Rows * HiddenSize * VocabSize * (method == nameof(Loss) ? 1 : 2);

    protected override void Prepare()
    {
        (_x, _dx, _nll) = (Operands.Matrix(Rows, HiddenSize, stream: 1), Operands.Matrix(Rows, HiddenSize), Operands.Contiguous(1, Rows));
        _targets = Operands.Integers([.. Enumerable.Range(0, Rows).Select(i => i * 31 % VocabSize)]);
        _weight = Operands.Weight(WeightFormat.F32, VocabSize, HiddenSize, LoraStep.Uniform(2, VocabSize * HiddenSize, 0.1f));
        _workspace = Operands.Workspace(Backend.LinearCrossEntropyWorkspaceBytes(DType.F32, WeightFormat.F32, Rows, HiddenSize, VocabSize));
    }

    protected override void Check()
    {
        LossAndGradient();
        float[] x = Operands.Download(_x.RowBlock(Rows - 1, 1)), w = Operands.Download(_weight.Data);
        double[] logits = [.. Enumerable.Range(0, VocabSize).Select(v => Enumerable.Range(0, HiddenSize).Sum(i => (double)x[i] * w[v * HiddenSize + i]))];
        double most = logits.Max(), lse = most + Math.Log(logits.Sum(l => Math.Exp(l - most)));
        int target = (Rows - 1) * 31 % VocabSize;
        Near("nll", Operands.Download(_nll)[^1], lse - logits[target]);
        double dx = Enumerable.Range(0, VocabSize).Sum(v => (Math.Exp(logits[v] - lse) - (v == target ? 1 : 0)) * w[(v + 1) * HiddenSize - 1]);
        Near("dx", Operands.Download(_dx)[^1], dx);
    }

    [Benchmark]
    public void Loss() => Backend.LinearCrossEntropy(_nll, default, default, default, _x, _weight, _targets, Rows, 0, default, in _workspace);

    [Benchmark]
    public void LossAndGradient() => Backend.LinearCrossEntropy(_nll, default, _dx, default, _x, _weight, _targets, Rows, 1, default, in _workspace);
}
