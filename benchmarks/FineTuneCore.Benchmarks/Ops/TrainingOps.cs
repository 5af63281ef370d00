using FineTuneCore.Backends;
using FineTuneCore.Benchmarks.Kernels;
using FineTuneCore.Benchmarks.Measuring;
using FineTuneCore.Models;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>In chunks: logits of all rows never lie in memory together.</summary>
public class CrossEntropyOp : CrossEntropyKernel
{
    private Operands _operands = null!;
    private Tensor _x, _nll, _dx, _targets;
    private WeightMatrix _weight = null!;
    private Workspace _workspace;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        (_x, _dx, _nll) = (_operands.Matrix(Rows, HiddenSize, X), _operands.Matrix(Rows, HiddenSize), _operands.Contiguous(1, Rows));
        (_targets, _weight) = (_operands.Integers(Targets), _operands.Weight(WeightFormat.F32, VocabSize, HiddenSize, Weight));
        _workspace = _operands.Workspace(OpDevice.Backend.LinearCrossEntropyWorkspaceBytes(DType.F32, WeightFormat.F32, Rows, HiddenSize, VocabSize));
    }

    protected override void RunLoss()
    {
        OpDevice.Backend.LinearCrossEntropy(_nll, default, default, default, _x, _weight, _targets, Rows, 0, default, in _workspace);
        OpDevice.Backend.Synchronize();
    }

    protected override void RunLossAndGradient()
    {
        OpDevice.Backend.LinearCrossEntropy(_nll, default, _dx, default, _x, _weight, _targets, Rows, 1, default, in _workspace);
        OpDevice.Backend.Synchronize();
    }

    protected override float[] Result(string name) => _operands.Download(name == "nll" ? _nll : _dx);
}

public class AdamWOp : AdamWKernel
{
    internal static readonly AdamWArguments Arguments =
        new(LoraStep.LearningRate, LoraStep.Beta1, LoraStep.Beta2, LoraStep.Epsilon, WeightDecay: 0, GradientScale: 1, Step: 1);

    private Operands _operands = null!;
    private Tensor _parameter, _m, _v, _gradient;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        (_parameter, _gradient) = (_operands.Values(Parameter), _operands.Values(Gradient));
        (_m, _v) = (_operands.Contiguous(1, Count), _operands.Contiguous(1, Count));
    }

    protected override void RunStep()
    {
        OpDevice.Backend.AdamWStep(_parameter, _m, _v, _gradient, in Arguments);
        OpDevice.Backend.Synchronize();
    }

    protected override float[] Result() => _operands.Download(_parameter);
}

public class AdamW8BitOp : AdamW8BitKernel
{
    private Operands _operands = null!;
    private Tensor _parameter, _mCodes, _vCodes, _mAbsmax, _vAbsmax, _gradient, _mMap, _vMap;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        (_parameter, _gradient) = (_operands.Values(Parameter), _operands.Values(Gradient));
        (_mCodes, _vCodes) = (_operands.Bytes(new byte[Count]), _operands.Bytes(new byte[Count]));
        long blocks = (Count + OptimizerStates.BlockSize - 1) / OptimizerStates.BlockSize;
        (_mAbsmax, _vAbsmax) = (_operands.Contiguous(1, blocks), _operands.Contiguous(1, blocks));
        (_mMap, _vMap) = (_operands.Values(DynamicMaps.Signed()), _operands.Values(DynamicMaps.Unsigned()));
    }

    protected override void RunStep()
    {
        OpDevice.Backend.AdamW8BitStep(_parameter, _mCodes, _vCodes, _mAbsmax, _vAbsmax, _gradient, _mMap, _vMap, in AdamWOp.Arguments);
        OpDevice.Backend.Synchronize();
    }

    protected override float[] Result() => _operands.Download(_parameter);
}

public class SgdOp : SgdKernel
{
    private static readonly SgdArguments Arguments = new(LoraStep.LearningRate, Momentum, WeightDecay: 0, GradientScale: 1);

    private Operands _operands = null!;
    private Tensor _parameter, _velocity, _gradient;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        (_parameter, _velocity, _gradient) = (_operands.Values(Parameter), _operands.Contiguous(1, Count), _operands.Values(Gradient));
    }

    protected override void RunStep()
    {
        OpDevice.Backend.SgdStep(_parameter, _velocity, _gradient, in Arguments);
        OpDevice.Backend.Synchronize();
    }

    protected override float[] Result() => _operands.Download(_parameter);
}

public class GradientNormOp : GradientNormKernel
{
    private Operands _operands = null!;
    private Tensor _x, _sum;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        (_x, _sum) = (_operands.Values(X), _operands.Contiguous(1, 1));
    }

    protected override void RunSumOfSquares()
    {
        OpDevice.Backend.SumOfSquares(_sum, _x);
        OpDevice.Backend.Synchronize();
    }

    protected override double Result() => _operands.Download(_sum)[0];
}
