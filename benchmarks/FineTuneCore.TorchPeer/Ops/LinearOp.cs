using FineTuneCore.Benchmarks.Kernels;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace FineTuneCore.Benchmarks.TorchPeer.Ops;

/// <summary>
/// Linear layers as a user of libtorch writes them: a quantised weight is dequantised as a whole by a table of byte to pair of values, an adapter adds
/// narrow products, its wide sum made inside the last of them.
/// </summary>
public class LinearOp : LinearKernel
{
    private Tensor _x = null!, _dy = null!, _a = null!, _b = null!, _da = null!, _db = null!;
    private Tensor _weight = null!, _codes = null!, _pairs = null!, _scale = null!, _minimum = null!;
    private Tensor? _y, _dx, _s, _input;

    protected override void Prepare()
    {
        base.Prepare();
        Own(no_grad());
        ScalarType dtype = IsBf16 ? ScalarType.BFloat16 : ScalarType.Float32;
        (_x, _dy) = (Own(tensor(X, M, K).to(dtype)), Own(tensor(Dy, M, N).to(dtype)));
        if (Rank > 0)
        {
            (_a, _b) = (Own(tensor(A, Rank, K / Pool)), Own(tensor(B, N, Rank)));
            (_da, _db) = (Own(zeros_like(_a)), Own(zeros_like(_b)));
        }

        switch (Weight)
        {
            case KernelWeight.Nf4:
                float[] map = Nf4Numbers.Map.ToArray();
                (_pairs, _scale) = (Own(Pairs(c => (map[c >> 4], map[c & 15]))), Own(tensor(Absmax).view(-1, 1)));
                break;
            case KernelWeight.Affine:
                _pairs = Own(Pairs(c => (c & 15, c >> 4)));
                (_scale, _minimum) = (Own(tensor(Scale).view(-1, 1)), Own(tensor(Minimum).view(-1, 1)));
                break;
            case KernelWeight.Int8:
                (_scale, _codes) = (Own(tensor(Scale).view(-1, 1)), Own(tensor((sbyte[])[.. Codes.Select(c => (sbyte)c)]).view(N, K)));
                return;
            default:
                _weight = Own(tensor(W, N, K).to(dtype));
                return;
        }

        _codes = Own(tensor(Codes));
    }

    protected override void RunForward()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor y = F.linear(_x, Wide());
        if (Rank > 0)
        {
            Tensor input = Pool > 1 ? _x.view(M, K / Pool, Pool).mean([-1]) : _x, s = F.linear(input, _a).mul_(Scaling);
            y.addmm_(s, _b.t());
            Keep(ref _s, s);
            if (Pool > 1) Keep(ref _input, input);
        }

        Keep(ref _y, y);
    }

    protected override void RunBackward()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor dx = _dy.mm(Wide());
        if (Rank > 0)
        {
            Tensor ds = _dy.mm(_b).mul_(Scaling);
            if (Pool > 1) dx.view(M, K / Pool, Pool).add_(ds.mm(_a).div_(Pool).unsqueeze(-1));
            else dx.addmm_(ds, _a);
            _da.addmm_(ds.t(), _input ?? _x);
            _db.addmm_(_dy.t(), _s!);
        }

        Keep(ref _dx, dx);
    }

    protected override float[] Result(string name)
    {
        using Tensor result = (name switch { "y" => _y!, "dx" => _dx!, "da" => _da, "db" => _db, _ => throw new ArgumentException(name) }).to(ScalarType.Float32);
        return [.. result.data<float>()];
    }

    /// <summary>The last result outlives its call; the one before goes.</summary>
    private static void Keep(ref Tensor? kept, Tensor result)
    {
        kept?.Dispose();
        kept = result.DetachFromDisposeScope();
    }

    private static Tensor Pairs(Func<int, (float, float)> of) =>
        tensor((float[])[.. Enumerable.Range(0, 256).SelectMany(c => (float[])[of(c).Item1, of(c).Item2])], 256, 2);

    private Tensor Wide() => Weight switch
    {
        KernelWeight.Nf4 => Values(Nf4Numbers.BlockSize).mul_(_scale).view(N, K),
        KernelWeight.Affine => _minimum.addcmul(Values(Group), _scale, 1).view(N, K),
        KernelWeight.Int8 => _codes.to(ScalarType.Float32).mul_(_scale),
        _ => _weight,
    };

    private Tensor Values(int group) => _pairs.index_select(0, _codes.to(ScalarType.Int32)).view(-1, group);
}

public class LinearBf16Op : LinearOp;

public class Nf4LinearOp : LinearOp;

public class AffineLinearOp : LinearOp;

public class Int8LinearOp : LinearOp;

public class LoraLinearOp : LinearOp;

public class Nf4LoraLinearOp : LinearOp;

public class QaLoraLinearOp : LinearOp;
