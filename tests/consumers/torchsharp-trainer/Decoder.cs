using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TorchSharpTrainer;

/// <summary>A small Llama in TorchSharp; what makes its linear layers is given to it.</summary>
internal sealed class Decoder : nn.Module<Tensor, Tensor, Tensor>
{
    internal const int HiddenSize = 512, IntermediateSize = 1408, Layers = 4, Heads = 8, HeadDim = 64, VocabSize = 1024, Sequence = 64, Batch = 4;

    private readonly Tensor _embedding, _cos, _sin;
    private readonly ModuleList<LoraLinear> linears = [];

    /// <param name="linear">Makes a layer of out-features and in-features.</param>
    internal Decoder(Tensor embedding, Func<int, int, LoraLinear> linear)
        : base("decoder")
    {
        _embedding = embedding;
        Tensor angles = arange(Sequence).unsqueeze(1) * pow(10000, arange(0, HeadDim, 2).to(ScalarType.Float32) / -HeadDim);
        (_cos, _sin) = (cat([angles, angles], -1).cos(), cat([angles, angles], -1).sin());
        for (int layer = 0; layer < Layers; layer++)
        {
            for (int i = 0; i < 4; i++) linears.Add(linear(HiddenSize, HiddenSize)); // q, k, v, o
            linears.Add(linear(IntermediateSize, HiddenSize)); // gate
            linears.Add(linear(IntermediateSize, HiddenSize)); // up
            linears.Add(linear(HiddenSize, IntermediateSize)); // down
        }

        linears.Add(linear(VocabSize, HiddenSize)); // head
        RegisterComponents();
    }

    internal long FrozenBytes => _embedding.numel() * sizeof(float) + linears.Sum(l => l.FrozenBytes);

    /// <summary>Mean loss of ids and targets, both [batch * sequence].</summary>
    public override Tensor forward(Tensor ids, Tensor targets)
    {
        Tensor x = _embedding.index_select(0, ids);
        for (int layer = 0; layer < Layers; layer++)
        {
            LoraLinear[] l = [.. linears.Skip(7 * layer).Take(7)];
            Tensor h = Norm(x);
            Tensor attention = F.scaled_dot_product_attention(
                Rotated(InHeads(l[0].call(h))), Rotated(InHeads(l[1].call(h))), InHeads(l[2].call(h)), attn_mask: null, p: 0, is_casual: true);
            x = x + l[3].call(attention.transpose(1, 2).reshape(Batch * Sequence, HiddenSize));
            h = Norm(x);
            x = x + l[6].call(F.silu(l[4].call(h)) * l[5].call(h));
        }

        return F.cross_entropy(linears[^1].call(Norm(x)), targets);
    }

    private static Tensor Norm(Tensor x) => x * rsqrt(x.pow(2).mean([-1], keepdim: true) + 1e-5f);

    private static Tensor InHeads(Tensor x) => x.view(Batch, Sequence, Heads, HeadDim).transpose(1, 2);

    private Tensor Rotated(Tensor x)
    {
        Tensor[] halves = x.chunk(2, -1);
        return x * _cos + cat([-halves[1], halves[0]], -1) * _sin;
    }
}
