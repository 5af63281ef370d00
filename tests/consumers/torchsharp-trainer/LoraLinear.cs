using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TorchSharpTrainer;

/// <summary>A frozen matrix with a trained LoRA adapter. Hu et al. 2021, arXiv:2106.09685.</summary>
internal abstract class LoraLinear(Tensor a, Tensor b) : nn.Module<Tensor, Tensor>("linear")
{
    internal const int Rank = 8;
    internal const float Scaling = 2;

    protected readonly Parameter lora_a = new(a.clone()); // [rank, in-features]
    protected readonly Parameter lora_b = new(b.clone()); // [out-features, rank]

    /// <summary>Bytes of the frozen matrix.</summary>
    internal abstract long FrozenBytes { get; }
}

/// <summary>The same in pure TorchSharp, over the dequantised matrix.</summary>
internal sealed class PlainLinear : LoraLinear
{
    private readonly Tensor _weight;

    internal PlainLinear(Tensor weight, Tensor a, Tensor b)
        : base(a, b)
    {
        _weight = weight;
        RegisterComponents();
    }

    internal override long FrozenBytes => _weight.numel() * sizeof(float);

    public override Tensor forward(Tensor x) => F.linear(x, _weight).addmm_(F.linear(x, lora_a).mul_(Scaling), lora_b.t());
}
