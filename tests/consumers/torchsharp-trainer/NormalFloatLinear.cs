using System.Runtime.InteropServices;
using FineTuneCore.Kernels;
using TorchSharp;
using static TorchSharp.torch;
using Device = FineTuneCore.Kernels.Device;

namespace TorchSharpTrainer;

/// <summary>y = x Ŵᵀ + scaling · x Aᵀ Bᵀ with Ŵ in NF4, by FineTuneCore's kernels on the memory of TorchSharp's tensors.</summary>
internal sealed class NormalFloatLinear : LoraLinear
{
    private readonly Tensor _codes; // uint8 [rows * columns / 2]
    private readonly Tensor _absmax; // float [rows * columns / 64]
    private readonly Kernels _kernels;
    private readonly long _rows, _columns;

    internal NormalFloatLinear(Kernels kernels, Tensor codes, Tensor absmax, Tensor a, Tensor b)
        : base(a, b)
    {
        (_kernels, _codes, _absmax, _rows, _columns) = (kernels, codes, absmax, b.shape[0], a.shape[1]);
        RegisterComponents();
    }

    internal override long FrozenBytes => _codes.numel() + _absmax.numel() * sizeof(float);

    public override Tensor forward(Tensor x) => Product.apply(x.contiguous(), lora_a, lora_b, this);

    /// <summary>A tensor's own memory; nothing is copied.</summary>
    private static TensorView View(Tensor t) => TensorView.Of(MemoryMarshal.Cast<byte, float>(t.bytes), t.shape[0], t.shape[1]);

    private LinearWeight Weight() =>
        LinearWeight.Nf4(_codes.bytes, MemoryMarshal.Cast<byte, float>(_absmax.bytes), _rows, _columns);

    private sealed class Product : autograd.SingleTensorFunction<Product>
    {
        public override string Name => "NormalFloatLinear";

        public override Tensor forward(autograd.AutogradContext context, params object[] arguments)
        {
            (Tensor x, Tensor a, Tensor b) = ((Tensor)arguments[0], (Tensor)arguments[1], (Tensor)arguments[2]);
            var layer = (NormalFloatLinear)arguments[3];
            Tensor y = empty(x.shape[0], layer._rows), s = empty(x.shape[0], Rank);
            Linear.Forward(
                layer._kernels.Stream, View(y), View(x), layer.Weight(), layer._kernels.Workspace,
                new LoraAdapter { A = View(a), B = View(b), S = View(s), Scaling = Scaling });
            context.save_for_backward([x, a, b, s]);
            context.save_data("layer", layer);
            context.save_data("below", x.requires_grad);
            return y;
        }

        public override List<Tensor> backward(autograd.AutogradContext context, Tensor gradient)
        {
            List<Tensor> saved = context.get_saved_variables();
            (Tensor x, Tensor a, Tensor b, Tensor s) = (saved[0], saved[1], saved[2], saved[3]);
            var layer = (NormalFloatLinear)context.get_data("layer");
            Tensor dy = gradient.contiguous(), da = zeros_like(a), db = zeros_like(b);
            Tensor? dx = (bool)context.get_data("below") ? empty_like(x) : null; // nothing below the first layer is trained
            Linear.Backward(
                layer._kernels.Stream, dx is null ? default : View(dx), View(dy), View(x), layer.Weight(), layer._kernels.Workspace,
                new LoraAdapter { A = View(a), B = View(b), S = View(s), Scaling = Scaling, Da = View(da), Db = View(db) });
            return [dx!, da, db, null!]; // none for the layer, which is no tensor
        }
    }
}

/// <summary>What all layers share: one device, one stream, one workspace.</summary>
internal sealed class Kernels : IDisposable
{
    private readonly Device _device;

    internal Kernels(int threads)
    {
        _device = Device.OpenCpu(threads);
        Stream = _device.CreateStream();
        Workspace = new Workspace(Stream);
    }

    internal DeviceStream Stream { get; }

    internal Workspace Workspace { get; }

    public void Dispose()
    {
        Workspace.Dispose();
        Stream.Dispose();
        _device.Dispose();
    }
}
