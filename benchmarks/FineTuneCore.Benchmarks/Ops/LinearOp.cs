using FineTuneCore.Backends;
using FineTuneCore.Benchmarks.Kernels;
using FineTuneCore.Benchmarks.Measuring;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>Every kind of linear layer of a backend; the op's name says which.</summary>
public class LinearOp : LinearKernel
{
    private Operands _operands = null!;
    private Tensor _x, _y, _dy, _dx, _a, _b, _s, _da, _db;
    private Workspace _workspace;
    private WeightMatrix _weight = null!;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        DType dtype = IsBf16 ? DType.BF16 : DType.F32;
        (_x, _y) = (_operands.Matrix(M, K, X, dtype), _operands.Matrix(M, N, dtype));
        (_dy, _dx) = (_operands.Matrix(M, N, Dy, dtype), _operands.Matrix(M, K, dtype));
        _weight = Weight switch
        {
            KernelWeight.F32 => _operands.Weight(WeightFormat.F32, N, K, W),
            KernelWeight.Bf16 => _operands.Weight(WeightFormat.BF16, N, K, W),
            KernelWeight.Nf4 => _operands.Nf4Weight(N, K, _operands.Bytes(Codes), _operands.Values(Absmax)),
            KernelWeight.Int8 => new WeightMatrix { Format = WeightFormat.Int8, Rows = N, Columns = K, Data = _operands.Bytes(Codes), Scale = _operands.Values(Scale) },
            _ => new WeightMatrix
            {
                Format = WeightFormat.Affine, Rows = N, Columns = K, Data = _operands.Bytes(Codes), Bits = 4, GroupSize = Group, Scale = _operands.Values(Scale),
                Minimum = _operands.Values(Minimum),
            },
        };
        if (Rank > 0)
        {
            int groups = K / Pool;
            (_a, _b, _s) = (_operands.Contiguous(Rank, groups, A), _operands.Contiguous(N, Rank, B), _operands.Contiguous(M, Rank));
            (_da, _db) = (_operands.Contiguous(Rank, groups), _operands.Contiguous(N, Rank));
        }

        _workspace = _operands.Workspace(OpDevice.Backend.LinearWorkspaceBytes(dtype, _weight.Format, 0, M, K, N, Rank));
    }

    protected override void RunForward()
    {
        LoraSegmentArguments segment = Segment();
        OpDevice.Backend.LinearForward(_y, _x, _weight, default, Rank > 0 ? new(in segment) : [], default, accumulate: false, _workspace);
        OpDevice.Backend.Synchronize();
    }

    protected override void RunBackward()
    {
        LoraSegmentArguments segment = Segment();
        OpDevice.Backend.LinearBackward(
            _dx, default, default, _dy, Rank > 0 ? _x : default, _weight, Rank > 0 ? new(in segment) : [], default, accumulate: false, _workspace);
        OpDevice.Backend.Synchronize();
    }

    protected override float[] Result(string name) => _operands.Download(name switch { "y" => _y, "dx" => _dx, "da" => _da, "db" => _db, _ => throw new ArgumentException(name) });

    private LoraSegmentArguments Segment() => new(0, M, Rank, Scaling, _a, _b, _s, _da, _db, 0, 0, Pool > 1 ? Pool : 0);
}

/// <summary>Weight and activations in bf16.</summary>
public class LinearBf16Op : LinearOp;

/// <summary>An NF4 weight, decoded while it is packed.</summary>
public class Nf4LinearOp : LinearOp;

/// <summary>Four bits in groups of 64 columns.</summary>
public class AffineLinearOp : LinearOp;

/// <summary>A byte a weight, a scale a row.</summary>
public class Int8LinearOp : LinearOp;

/// <summary>The adapter rides inside the product.</summary>
public class LoraLinearOp : LinearOp;

/// <summary>The layer of QLoRA.</summary>
public class Nf4LoraLinearOp : LinearOp;

/// <summary>An adapter that can be merged into the minima of an affine weight.</summary>
public class QaLoraLinearOp : LinearOp;
