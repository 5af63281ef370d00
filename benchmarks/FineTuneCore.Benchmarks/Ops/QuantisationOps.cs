using FineTuneCore.Backends;
using FineTuneCore.Benchmarks.Kernels;
using FineTuneCore.Benchmarks.Measuring;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Ops;

public class Nf4Op : Nf4Kernel
{
    private Operands _operands = null!;
    private Tensor _x, _y;
    private WeightMatrix _weight = null!;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        long count = (long)Rows * Columns;
        (_x, _y) = (_operands.Contiguous(1, count, X), _operands.Contiguous(Rows, Columns));
        _weight = _operands.Nf4Weight(Rows, Columns, _operands.Bytes(new byte[count / 2]), _operands.Contiguous(1, count / Group));
    }

    protected override void RunQuantize()
    {
        OpDevice.Backend.Nf4Quantize(_weight.Data, _weight.Absmax, _x, _x.Columns);
        OpDevice.Backend.Synchronize();
    }

    protected override void RunDequantize()
    {
        OpDevice.Backend.Dequantize(_y, _weight, 0, Rows);
        OpDevice.Backend.Synchronize();
    }

    protected override float[] Result() => _operands.Download(_y);
}

public class AffineOp : AffineKernel
{
    private Operands _operands = null!;
    private Tensor _x, _y;
    private WeightMatrix _weight = null!;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        int count = Rows * Columns;
        (_x, _y) = (_operands.Contiguous(Rows, Columns, X), _operands.Contiguous(Rows, Columns));
        _weight = new WeightMatrix
        {
            Format = WeightFormat.Affine, Rows = Rows, Columns = Columns, Data = _operands.Bytes(new byte[count / 8 * Bits]), Bits = Bits, GroupSize = Group,
            Scale = _operands.Contiguous(1, count / Group), Minimum = _operands.Contiguous(1, count / Group),
        };
    }

    protected override void RunQuantize()
    {
        OpDevice.Backend.AffineQuantize(_weight, _x, search: false);
        OpDevice.Backend.Synchronize();
    }

    protected override void RunDequantize()
    {
        OpDevice.Backend.Dequantize(_y, _weight, 0, Rows);
        OpDevice.Backend.Synchronize();
    }

    protected override float[] Result() => _operands.Download(_y);
}

public class Int8Op : Int8Kernel
{
    private Operands _operands = null!;
    private Tensor _x, _y;
    private WeightMatrix _weight = null!;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        (_x, _y) = (_operands.Contiguous(Rows, Columns, X), _operands.Contiguous(Rows, Columns));
        _weight = new WeightMatrix
        {
            Format = WeightFormat.Int8, Rows = Rows, Columns = Columns, Data = _operands.Bytes(new byte[Rows * Columns]), Scale = _operands.Contiguous(1, Rows),
        };
    }

    protected override void RunQuantize()
    {
        OpDevice.Backend.Int8Quantize(_weight, _x);
        OpDevice.Backend.Synchronize();
    }

    protected override void RunDequantize()
    {
        OpDevice.Backend.Dequantize(_y, _weight, 0, Rows);
        OpDevice.Backend.Synchronize();
    }

    protected override float[] Result() => _operands.Download(_y);
}

public class AffineMergeOp : AffineMergeKernel
{
    private Operands _operands = null!;
    private Tensor _b, _a;
    private WeightMatrix _weight = null!;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        (_b, _a) = (_operands.Contiguous(Rows, Rank, B), _operands.Contiguous(Rank, Groups, A));
        _weight = new WeightMatrix
        {
            Format = WeightFormat.Affine, Rows = Rows, Columns = Columns, Data = _operands.Bytes(new byte[Rows * Columns / 2]), Bits = 4, GroupSize = Group,
            Scale = _operands.Contiguous(1, Rows * Groups), Minimum = _operands.Values(Minimum),
        };
    }

    protected override void RunMerge()
    {
        OpDevice.Backend.AffineMerge(_weight, _b, _a, Scaling);
        OpDevice.Backend.Synchronize();
    }

    protected override float[] Result() => _operands.Download(_weight.Minimum);
}
