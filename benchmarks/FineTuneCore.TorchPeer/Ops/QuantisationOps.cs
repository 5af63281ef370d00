using FineTuneCore.Benchmarks.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace FineTuneCore.Benchmarks.TorchPeer.Ops;

/// <summary>Codes by their thresholds, and back by a table of byte to pair of values.</summary>
public class Nf4Op : Nf4Kernel
{
    private Tensor _x = null!, _thresholds = null!, _pairs = null!;
    private Tensor? _codes, _absmax, _y;

    protected override void Prepare()
    {
        base.Prepare();
        Own(no_grad());
        float[] map = Nf4Numbers.Map.ToArray();
        _x = Own(tensor(X, X.Length / Group, Group));
        _thresholds = Own(tensor((float[])[.. map.Zip(map.Skip(1), (a, b) => (a + b) / 2)]));
        _pairs = Own(tensor((float[])[.. Enumerable.Range(0, 256).SelectMany(c => (float[])[map[c >> 4], map[c & 15]])], 256, 2));
    }

    protected override void RunQuantize()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor absmax = _x.abs().amax([-1], keepdim: true);
        Tensor codes = bucketize(_x / absmax, _thresholds, outInt32: true).to(ScalarType.Byte).view(-1, 2);
        _codes?.Dispose();
        _absmax?.Dispose();
        (_codes, _absmax) = (codes.select(1, 0).bitwise_left_shift(4).bitwise_or_(codes.select(1, 1)).DetachFromDisposeScope(), absmax.DetachFromDisposeScope());
    }

    protected override void RunDequantize()
    {
        using DisposeScope scope = NewDisposeScope();
        _y?.Dispose();
        _y = _pairs.index_select(0, _codes!.to(ScalarType.Int32)).view(-1, Group).mul_(_absmax!).DetachFromDisposeScope();
    }

    protected override float[] Result() => [.. _y!.data<float>()];
}

public class AffineOp : AffineKernel
{
    private Tensor _x = null!, _pairs = null!;
    private Tensor? _codes, _scale, _minimum, _y;

    protected override void Prepare()
    {
        base.Prepare();
        Own(no_grad());
        _x = Own(tensor(X, X.Length / Group, Group));
        _pairs = Own(tensor((float[])[.. Enumerable.Range(0, 256).SelectMany(c => (float[])[c & 15, c >> 4])], 256, 2));
    }

    protected override void RunQuantize()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor minimum = _x.amin([-1], keepdim: true), scale = (_x.amax([-1], keepdim: true) - minimum).div_(Steps);
        Tensor codes = (_x - minimum).div_(scale).round_().to(ScalarType.Byte).view(-1, 2);
        foreach (Tensor? old in (Tensor?[])[_codes, _scale, _minimum]) old?.Dispose();
        _codes = codes.select(1, 1).bitwise_left_shift(4).bitwise_or_(codes.select(1, 0)).DetachFromDisposeScope();
        (_scale, _minimum) = (scale.DetachFromDisposeScope(), minimum.DetachFromDisposeScope());
    }

    protected override void RunDequantize()
    {
        using DisposeScope scope = NewDisposeScope();
        _y?.Dispose();
        _y = _minimum!.addcmul(_pairs.index_select(0, _codes!.to(ScalarType.Int32)).view(-1, Group), _scale!, 1).DetachFromDisposeScope();
    }

    protected override float[] Result() => [.. _y!.data<float>()];
}

public class Int8Op : Int8Kernel
{
    private Tensor _x = null!;
    private Tensor? _codes, _scale, _y;

    protected override void Prepare()
    {
        base.Prepare();
        Own(no_grad());
        _x = Own(tensor(X, Rows, Columns));
    }

    protected override void RunQuantize()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor scale = _x.abs().amax([-1], keepdim: true).div_(Steps);
        _codes?.Dispose();
        _scale?.Dispose();
        (_codes, _scale) = ((_x / scale).round_().to(ScalarType.Int8).DetachFromDisposeScope(), scale.DetachFromDisposeScope());
    }

    protected override void RunDequantize()
    {
        _y?.Dispose();
        _y = _codes!.to(ScalarType.Float32).mul_(_scale!);
    }

    protected override float[] Result() => [.. _y!.data<float>()];
}

public class AffineMergeOp : AffineMergeKernel
{
    private Tensor _minimum = null!, _b = null!, _a = null!;

    protected override void Prepare()
    {
        base.Prepare();
        Own(no_grad());
        (_minimum, _b, _a) = (Own(tensor(Minimum, Rows, Groups)), Own(tensor(B, Rows, Rank)), Own(tensor(A, Rank, Groups)));
    }

    protected override void RunMerge() => _minimum.addmm_(_b, _a, beta: 1, alpha: Scaling / Group);

    protected override float[] Result() => [.. _minimum.data<float>()];
}
