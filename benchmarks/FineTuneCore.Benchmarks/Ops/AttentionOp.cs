using FineTuneCore.Backends;
using FineTuneCore.Benchmarks.Kernels;
using FineTuneCore.Benchmarks.Measuring;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Ops;

public class AttentionOp : AttentionKernel
{
    private Operands _operands = null!;
    private Tensor _q, _k, _v, _o, _lse, _do, _dq, _dk, _dv, _keyBegin;
    private AttentionShape _shape;
    private Workspace _workspace;

    protected override void Prepare()
    {
        base.Prepare();
        _operands = Own(new Operands(OpDevice.Backend));
        int width = Heads * HeadDim, keyWidth = KeyValueHeads * HeadDim;
        (_q, _k, _v, _do) = (_operands.Matrix(Tokens, width, Q), _operands.Matrix(Tokens, keyWidth, K), _operands.Matrix(Tokens, keyWidth, V), _operands.Matrix(Tokens, width, Do));
        (_o, _dq, _dk, _dv) = (_operands.Matrix(Tokens, width), _operands.Matrix(Tokens, width), _operands.Matrix(Tokens, keyWidth), _operands.Matrix(Tokens, keyWidth));
        (_lse, _keyBegin) = (_operands.Contiguous(Tokens, Heads), _operands.Integers(new int[Tokens]));
        _shape = new AttentionShape(0, Heads, KeyValueHeads, HeadDim, Scale);
        _workspace = _operands.Workspace(Math.Max(
            OpDevice.Backend.AttentionWorkspaceBytes(DType.F32, Tokens, Tokens, in _shape, backward: false),
            OpDevice.Backend.AttentionWorkspaceBytes(DType.F32, Tokens, Tokens, in _shape, backward: true)));
    }

    protected override void RunForward()
    {
        OpDevice.Backend.AttentionForward(_o, _lse, _q, _k, _v, _keyBegin, in _shape, in _workspace);
        OpDevice.Backend.Synchronize();
    }

    protected override void RunBackward()
    {
        OpDevice.Backend.AttentionBackward(_dq, _dk, _dv, _do, _q, _k, _v, _o, _lse, _keyBegin, in _shape, in _workspace);
        OpDevice.Backend.Synchronize();
    }

    protected override float[] Result(string name) => _operands.Download(name switch { "o" => _o, "dq" => _dq, "dk" => _dk, "dv" => _dv, _ => throw new ArgumentException(name) });
}
