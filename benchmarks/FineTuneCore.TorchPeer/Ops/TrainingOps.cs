using FineTuneCore.Benchmarks.Kernels;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace FineTuneCore.Benchmarks.TorchPeer.Ops;

/// <summary>All logits at once, the gradient by autograd.</summary>
public class CrossEntropyOp : CrossEntropyKernel
{
    private Tensor _x = null!, _weight = null!, _targets = null!;
    private Tensor? _nll, _dx;

    protected override void Prepare()
    {
        base.Prepare();
        Own(no_grad());
        (_x, _weight) = (Own(tensor(X, Rows, HiddenSize, requires_grad: true)), Own(tensor(Weight, VocabSize, HiddenSize)));
        _targets = Own(tensor(Targets, dtype: ScalarType.Int64));
    }

    protected override void RunLoss()
    {
        using DisposeScope scope = NewDisposeScope();
        _nll?.Dispose();
        _nll = Losses().DetachFromDisposeScope();
    }

    protected override void RunLossAndGradient()
    {
        using IDisposable grad = enable_grad();
        using DisposeScope scope = NewDisposeScope();
        Tensor nll = Losses();
        _nll?.Dispose();
        _dx?.Dispose();
        _dx = autograd.grad([nll.sum()], [_x])[0].DetachFromDisposeScope();
        _nll = nll.detach().DetachFromDisposeScope();
    }

    protected override float[] Result(string name) => [.. (name == "nll" ? _nll! : _dx!).data<float>()];

    private Tensor Losses() => F.cross_entropy(F.linear(_x, _weight), _targets, reduction: nn.Reduction.None);
}

internal static class Gradients
{
    /// <summary>A parameter with a gradient, which stays.</summary>
    internal static TorchSharp.Modules.Parameter Of(float[] values, float[] gradient)
    {
        var parameter = new TorchSharp.Modules.Parameter(tensor(values));
        using DisposeScope scope = NewDisposeScope();
        (parameter * tensor(gradient)).sum().backward();
        return parameter;
    }
}

/// <summary>The library's optimiser over one parameter.</summary>
public class AdamWOp : AdamWKernel
{
    private TorchSharp.Modules.Parameter _parameter = null!;
    private optim.Optimizer _optimizer = null!;

    protected override void Prepare()
    {
        base.Prepare();
        _parameter = Own(Gradients.Of(Parameter, Gradient));
        _optimizer = Own(optim.AdamW([_parameter], lr: LoraStep.LearningRate, beta1: LoraStep.Beta1, beta2: LoraStep.Beta2, eps: LoraStep.Epsilon, weight_decay: 0));
    }

    protected override void RunStep() => _optimizer.step();

    protected override float[] Result() => [.. _parameter.data<float>()];
}

/// <summary>The library's optimiser with momentum over one parameter.</summary>
public class SgdOp : SgdKernel
{
    private TorchSharp.Modules.Parameter _parameter = null!;
    private optim.Optimizer _optimizer = null!;

    protected override void Prepare()
    {
        base.Prepare();
        _parameter = Own(Gradients.Of(Parameter, Gradient));
        _optimizer = Own(optim.SGD([_parameter], LoraStep.LearningRate, momentum: Momentum));
    }

    protected override void RunStep() => _optimizer.step();

    protected override float[] Result() => [.. _parameter.data<float>()];
}

/// <summary>norm(), which the library's clipping takes.</summary>
public class GradientNormOp : GradientNormKernel
{
    private Tensor _x = null!;
    private Tensor? _norm;

    /// <summary>It adds up in fp32, which over 42 million numbers is off by 0.4 %.</summary>
    protected override double Tolerance => 1e-2;

    protected override void Prepare()
    {
        base.Prepare();
        Own(no_grad());
        _x = Own(tensor(X));
    }

    protected override void RunSumOfSquares()
    {
        _norm?.Dispose();
        _norm = _x.norm();
    }

    protected override double Result() => Math.Pow(_norm!.item<float>(), 2);
}
