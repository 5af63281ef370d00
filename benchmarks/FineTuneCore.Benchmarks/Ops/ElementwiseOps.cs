using FineTuneCore.Benchmarks.Kernels;
using FineTuneCore.Backends;
using FineTuneCore.Benchmarks.Measuring;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Ops;

public class RmsNormOp : RmsNormKernel
{
    private Operands _operands = null!;
    private Tensor _x, _residual, _sum, _y, _rstd, _weight, _dy, _dsum, _dx;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        Tensor Of(float[] values) => _operands.Matrix(Rows, Columns, values);
        Tensor Empty() => _operands.Matrix(Rows, Columns);
        (_x, _residual, _dy, _dsum) = (Of(X), Of(Residual), Of(Dy), Of(Dsum));
        (_sum, _y, _dx) = (Empty(), Empty(), Empty());
        (_rstd, _weight) = (_operands.Contiguous(1, Rows), _operands.Values(Weight));
    }

    protected override void RunForward()
    {
        OpDevice.Backend.RmsNormForward(_y, _sum, _rstd, _x, _residual, _weight, 1, Eps);
        OpDevice.Backend.Synchronize();
    }

    protected override void RunBackward()
    {
        OpDevice.Backend.RmsNormBackward(_dx, default, _dy, _dsum, _sum, _rstd, _weight, 1, Eps);
        OpDevice.Backend.Synchronize();
    }

    protected override float[] Result(string name) => _operands.Download(name == "y" ? _y : _dx);
}

/// <summary>In place.</summary>
public class RopeOp : RopeKernel
{
    private Operands _operands = null!;
    private Tensor _x, _dx, _positions, _cos, _sin;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        (_x, _dx) = (_operands.Matrix(Rows, Columns, X), _operands.Matrix(Rows, Columns, Dy));
        _positions = _operands.Integers([.. Enumerable.Range(0, Rows)]);
        (_cos, _sin) = (_operands.Contiguous(Rows, HeadDim / 2, Cos), _operands.Contiguous(Rows, HeadDim / 2, Sin));
    }

    protected override void RunForward()
    {
        OpDevice.Backend.RopeForward(_x, _positions, _cos, _sin, HeadDim);
        OpDevice.Backend.Synchronize();
    }

    protected override void RunBackward()
    {
        OpDevice.Backend.RopeBackward(_dx, _positions, _cos, _sin, HeadDim);
        OpDevice.Backend.Synchronize();
    }

    protected override float[] Result(string name) => _operands.Download(name == "x" ? _x : _dx);
}

public class SwigluOp : SwigluKernel
{
    private Operands _operands = null!;
    private Tensor _gate, _up, _y, _dy, _dgate, _dup;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        Tensor Of(float[] values) => _operands.Matrix(Rows, Columns, values);
        Tensor Empty() => _operands.Matrix(Rows, Columns);
        (_gate, _up, _dy) = (Of(Gate), Of(Up), Of(Dy));
        (_y, _dgate, _dup) = (Empty(), Empty(), Empty());
    }

    protected override void RunForward()
    {
        OpDevice.Backend.SwigluForward(_y, _gate, _up);
        OpDevice.Backend.Synchronize();
    }

    protected override void RunBackward()
    {
        OpDevice.Backend.SwigluBackward(_dgate, _dup, _dy, _gate, _up);
        OpDevice.Backend.Synchronize();
    }

    protected override float[] Result(string name) => _operands.Download(name switch { "y" => _y, "dgate" => _dgate, "dup" => _dup, _ => throw new ArgumentException(name) });
}

public class EmbeddingOp : EmbeddingKernel
{
    private Operands _operands = null!;
    private Tensor _y, _dy, _ids, _dweight;
    private WeightMatrix _weight = null!;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        (_y, _dy, _ids) = (_operands.Matrix(Rows, Columns), _operands.Matrix(Rows, Columns, Dy), _operands.Integers(Ids));
        (_weight, _dweight) = (_operands.Weight(WeightFormat.F32, VocabSize, Columns, Weight), _operands.Contiguous(VocabSize, Columns));
    }

    protected override void RunForward()
    {
        OpDevice.Backend.EmbeddingForward(_y, _ids, _weight);
        OpDevice.Backend.Synchronize();
    }

    protected override void RunBackward()
    {
        OpDevice.Backend.EmbeddingBackward(_dweight, _dy, _ids);
        OpDevice.Backend.Synchronize();
    }

    protected override float[] Result(string name) => _operands.Download(name == "y" ? _y : _dweight);
}
