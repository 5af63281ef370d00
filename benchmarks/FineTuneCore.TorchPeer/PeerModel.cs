using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace FineTuneCore.Benchmarks.TorchPeer;

/// <summary>y = x Wᵀ + scaling · x Aᵀ Bᵀ, W frozen.</summary>
internal sealed class LoraLinear : nn.Module<Tensor, Tensor>
{
    private readonly Parameter weight;
    private readonly Parameter lora_a;
    private readonly Parameter lora_b;
    private readonly Scalar scaling = LoraStep.Alpha / LoraStep.Rank;

    internal LoraLinear(StepMatrix matrix, ScalarType dtype)
        : base(matrix.Module)
    {
        weight = PeerNumbers.Frozen(LoraStep.Weight(in matrix), matrix, dtype);
        lora_a = new Parameter(tensor(LoraStep.AdapterA(in matrix), LoraStep.Rank, matrix.Columns).to(dtype));
        lora_b = new Parameter(zeros(matrix.Rows, LoraStep.Rank, dtype));
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        // The fastest and smallest of the ways tried: the scaling meets the narrow product, and the wide sum is made inside the product with B.
        Tensor s = F.linear(x, lora_a).mul_(scaling);
        return F.linear(x, weight).addmm_(s, lora_b.t());
    }
}

/// <summary>y = x / sqrt(mean(x²) + eps) · weight.</summary>
internal sealed class RmsNorm : nn.Module<Tensor, Tensor>
{
    private readonly Parameter weight;

    internal RmsNorm(string name, ScalarType dtype)
        : base(name)
    {
        weight = new Parameter(ones(LoraStep.HiddenSize, dtype), requires_grad: false);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x) => x * rsqrt(x.pow(2).mean([-1], keepdim: true) + LoraStep.RmsNormEps) * weight;
}

internal sealed class DecoderBlock : nn.Module<Tensor, Tensor>
{
    private readonly RmsNorm input_layernorm;
    private readonly RmsNorm post_attention_layernorm;
    private readonly LoraLinear q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj;
    private readonly Tensor _cos;
    private readonly Tensor _sin;

    internal DecoderBlock(int layer, ScalarType dtype, Tensor cos, Tensor sin)
        : base($"layer{layer}")
    {
        LoraLinear Linear(string name) => new(LoraStep.Matrices().Single(m => m.Module == $"model.layers.{layer}.{name}"), dtype);
        (_cos, _sin) = (cos, sin);
        input_layernorm = new RmsNorm(nameof(input_layernorm), dtype);
        post_attention_layernorm = new RmsNorm(nameof(post_attention_layernorm), dtype);
        (q_proj, k_proj, v_proj, o_proj) = (Linear("self_attn.q_proj"), Linear("self_attn.k_proj"), Linear("self_attn.v_proj"), Linear("self_attn.o_proj"));
        (gate_proj, up_proj, down_proj) = (Linear("mlp.gate_proj"), Linear("mlp.up_proj"), Linear("mlp.down_proj"));
        RegisterComponents();
    }

    /// <summary>x [tokens, hidden size].</summary>
    public override Tensor forward(Tensor x)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor h = input_layernorm.call(x);
        Tensor q = Rotate(InHeads(q_proj.call(h), LoraStep.Heads));
        Tensor k = Rotate(InHeads(k_proj.call(h), LoraStep.KeyValueHeads)).repeat_interleave(LoraStep.Heads / LoraStep.KeyValueHeads, 1);
        Tensor v = InHeads(v_proj.call(h), LoraStep.KeyValueHeads).repeat_interleave(LoraStep.Heads / LoraStep.KeyValueHeads, 1);
        Tensor attention = F.scaled_dot_product_attention(q, k, v, attn_mask: null, p: 0, is_casual: true);
        Tensor y = x + o_proj.call(attention.transpose(1, 2).reshape(LoraStep.Tokens, LoraStep.Heads * LoraStep.HeadDim));
        h = post_attention_layernorm.call(y);
        y = y + down_proj.call(F.silu(gate_proj.call(h)) * up_proj.call(h));
        return y.MoveToOuterDisposeScope();
    }

    /// <summary>[tokens, heads · head dim] to [batch, heads, sequence, head dim].</summary>
    private static Tensor InHeads(Tensor x, int heads) => x.view(LoraStep.BatchSize, LoraStep.SequenceLength, heads, LoraStep.HeadDim).transpose(1, 2);

    private Tensor Rotate(Tensor x)
    {
        Tensor[] halves = x.chunk(2, -1);
        return x * _cos + cat([-halves[1], halves[0]], -1) * _sin;
    }
}

/// <summary>The whole decoder with autograd: embedding, blocks, untied head, mean cross-entropy of fp32 logits.</summary>
internal sealed class PeerModel : nn.Module<Tensor, Tensor, Tensor>
{
    private readonly Parameter embed_tokens;
    private readonly ModuleList<DecoderBlock> layers;
    private readonly RmsNorm norm;
    private readonly Parameter lm_head;

    internal PeerModel(ScalarType dtype)
        : base("model")
    {
        Parameter Matrix(string module)
        {
            StepMatrix matrix = LoraStep.Matrices().Single(m => m.Module == module);
            return PeerNumbers.Frozen(LoraStep.Weight(in matrix), matrix, dtype);
        }

        embed_tokens = Matrix(LoraStep.Embedding);
        lm_head = Matrix(LoraStep.Head);
        (Tensor cos, Tensor sin) = PeerNumbers.RopeTables(dtype);
        layers = [.. Enumerable.Range(0, LoraStep.Layers).Select(i => new DecoderBlock(i, dtype, cos, sin))];
        norm = new RmsNorm(nameof(norm), dtype);
        RegisterComponents();
    }

    public override Tensor forward(Tensor ids, Tensor targets)
    {
        Tensor x = embed_tokens.index_select(0, ids);
        foreach (DecoderBlock layer in layers) x = layer.call(x);
        return F.cross_entropy(F.linear(norm.call(x), lm_head).to(ScalarType.Float32), targets);
    }
}

internal static class PeerNumbers
{
    internal static Parameter Frozen(float[] values, StepMatrix matrix, ScalarType dtype) =>
        new(tensor(values, matrix.Rows, matrix.Columns).to(dtype), requires_grad: false);

    /// <summary>[sequence, head dim], each frequency twice: the halves of a head turn together.</summary>
    internal static (Tensor Cos, Tensor Sin) RopeTables(ScalarType dtype)
    {
        const int Half = LoraStep.HeadDim / 2;
        var cos = new float[LoraStep.SequenceLength * LoraStep.HeadDim];
        var sin = new float[cos.Length];
        for (int position = 0; position < LoraStep.SequenceLength; position++)
        {
            for (int i = 0; i < LoraStep.HeadDim; i++)
            {
                double angle = position * Math.Pow(LoraStep.RopeTheta, -2.0 * (i % Half) / LoraStep.HeadDim);
                (cos[position * LoraStep.HeadDim + i], sin[position * LoraStep.HeadDim + i]) = ((float)Math.Cos(angle), (float)Math.Sin(angle));
            }
        }

        return (tensor(cos, LoraStep.SequenceLength, LoraStep.HeadDim).to(dtype), tensor(sin, LoraStep.SequenceLength, LoraStep.HeadDim).to(dtype));
    }
}
