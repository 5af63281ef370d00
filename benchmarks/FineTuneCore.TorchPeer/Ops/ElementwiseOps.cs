using FineTuneCore.Benchmarks.Kernels;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace FineTuneCore.Benchmarks.TorchPeer.Ops;

/// <summary>Forward keeps what backward needs; backward is written out, in fewer passes than autograd's.</summary>
public class RmsNormOp : RmsNormKernel
{
    private Tensor _x = null!, _residual = null!, _dy = null!, _dsum = null!, _weight = null!;
    private Tensor? _y, _sum, _normed, _rstd, _dx;

    protected override void Prepare()
    {
        base.Prepare();
        Own(no_grad());
        Tensor Of(float[] values) => Own(tensor(values, Rows, Columns));
        (_x, _residual, _dy, _dsum, _weight) = (Of(X), Of(Residual), Of(Dy), Of(Dsum), Own(tensor(Weight)));
    }

    protected override void RunForward()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor sum = _x + _residual, rstd = sum.pow(2).mean([-1], keepdim: true).add_(Eps).rsqrt_(), normed = sum * rstd, y = normed * _weight;
        foreach (Tensor? old in (Tensor?[])[_y, _sum, _normed, _rstd]) old?.Dispose();
        (_y, _sum, _normed, _rstd) = (y.DetachFromDisposeScope(), sum.DetachFromDisposeScope(), normed.DetachFromDisposeScope(), rstd.DetachFromDisposeScope());
    }

    protected override void RunBackward()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor g = _dy * _weight, along = (g * _normed!).mean([-1], keepdim: true);
        _dx?.Dispose();
        _dx = _dsum.addcmul(g.addcmul_(_normed!, along, -1), _rstd!, 1).DetachFromDisposeScope();
    }

    protected override float[] Result(string name) => [.. (name == "y" ? _y! : _dx!).data<float>()];
}

/// <summary>Halves are added in place into the product with the cosines, which spares the usual concatenation.</summary>
public class RopeOp : RopeKernel
{
    private Tensor _x = null!, _dy = null!, _cos = null!, _sin = null!;
    private Tensor? _y, _dx;

    protected override void Prepare()
    {
        base.Prepare();
        Own(no_grad());
        using Tensor half = tensor(Cos, Rows, 1, HeadDim / 2);
        (_x, _dy) = (Own(tensor(X, Rows, Heads, HeadDim)), Own(tensor(Dy, Rows, Heads, HeadDim)));
        (_cos, _sin) = (Own(cat([half, half], -1)), Own(tensor(Sin, Rows, 1, HeadDim / 2)));
    }

    protected override void RunForward() => Turn(ref _y, _x, 1);

    protected override void RunBackward() => Turn(ref _dx, _dy, -1);

    protected override float[] Result(string name) => [.. (name == "x" ? _y! : _dx!).data<float>()];

    private void Turn(ref Tensor? result, Tensor x, int direction)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor y = x * _cos;
        Tensor[] from = x.chunk(2, -1), to = y.chunk(2, -1);
        to[0].addcmul_(from[1], _sin, -direction);
        to[1].addcmul_(from[0], _sin, direction);
        result?.Dispose();
        result = y.DetachFromDisposeScope();
    }
}

/// <summary>Its gradient by autograd.</summary>
public class SwigluOp : SwigluKernel
{
    private Tensor _gate = null!, _up = null!, _dy = null!, _graph = null!;
    private Tensor? _y;
    private Tensor[] _gradients = [];

    protected override void Prepare()
    {
        base.Prepare();
        Own(no_grad());
        Tensor Of(float[] values, bool leaf = true) => Own(tensor(values, Rows, Columns, requires_grad: leaf));
        (_gate, _up, _dy) = (Of(Gate), Of(Up), Of(Dy, leaf: false));
        using (enable_grad()) _graph = Own(F.silu(_gate) * _up);
    }

    protected override void RunForward()
    {
        _y?.Dispose();
        _y = F.silu(_gate).mul_(_up);
    }

    protected override void RunBackward()
    {
        foreach (Tensor old in _gradients) old.Dispose();
        _gradients = [.. autograd.grad([_graph], [_gate, _up], [_dy], retain_graph: true)];
    }

    protected override float[] Result(string name) => [.. (name switch { "y" => _y!, "dgate" => _gradients[0], "dup" => _gradients[1], _ => throw new ArgumentException(name) }).data<float>()];
}

public class EmbeddingOp : EmbeddingKernel
{
    private Tensor _weight = null!, _ids = null!, _dy = null!, _dweight = null!;
    private Tensor? _y;

    protected override void Prepare()
    {
        base.Prepare();
        Own(no_grad());
        (_weight, _ids, _dy) = (Own(tensor(Weight, VocabSize, Columns)), Own(tensor(Ids, dtype: ScalarType.Int64)), Own(tensor(Dy, Rows, Columns)));
        _dweight = Own(zeros_like(_weight));
    }

    protected override void RunForward()
    {
        _y?.Dispose();
        _y = _weight.index_select(0, _ids);
    }

    protected override void RunBackward() => _dweight.index_add_(0, _ids, _dy, 1);

    protected override float[] Result(string name) => [.. (name == "y" ? _y! : _dweight).data<float>()];
}
