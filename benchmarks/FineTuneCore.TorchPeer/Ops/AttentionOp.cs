using FineTuneCore.Benchmarks.Kernels;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace FineTuneCore.Benchmarks.TorchPeer.Ops;

/// <summary>Scaled dot-product attention over repeated key-value heads, its gradient by autograd.</summary>
public class AttentionOp : AttentionKernel
{
    private Tensor _q = null!, _k = null!, _v = null!, _do = null!, _graph = null!;
    private Tensor? _o;
    private Tensor[] _gradients = [];

    protected override void Prepare()
    {
        base.Prepare();
        Own(no_grad());
        int width = Heads * HeadDim, keyWidth = KeyValueHeads * HeadDim;
        Tensor Leaf(float[] values, int columns) => Own(tensor(values, Tokens, columns, requires_grad: true));
        (_q, _k, _v, _do) = (Leaf(Q, width), Leaf(K, keyWidth), Leaf(V, keyWidth), Own(tensor(Do, Tokens, width)));
        using (enable_grad()) _graph = Own(Attention());
    }

    protected override void RunForward()
    {
        _o?.Dispose();
        _o = Attention();
    }

    protected override void RunBackward()
    {
        foreach (Tensor old in _gradients) old.Dispose();
        _gradients = [.. autograd.grad([_graph], [_q, _k, _v], [_do], retain_graph: true)];
    }

    protected override float[] Result(string name)
    {
        using Tensor result = (name switch { "o" => _o!, "dq" => _gradients[0], "dk" => _gradients[1], "dv" => _gradients[2], _ => throw new ArgumentException(name) }).contiguous();
        return [.. result.data<float>()];
    }

    private Tensor Attention()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor InHeads(Tensor x, int heads) => x.view(1, Tokens, heads, HeadDim).transpose(1, 2);
        Tensor Repeated(Tensor x) => InHeads(x, KeyValueHeads).repeat_interleave(Heads / KeyValueHeads, 1);
        Tensor o = F.scaled_dot_product_attention(InHeads(_q, Heads), Repeated(_k), Repeated(_v), attn_mask: null, p: 0, is_casual: true);
        return o.transpose(1, 2).reshape(Tokens, Heads * HeadDim).DetachFromDisposeScope();
    }
}
