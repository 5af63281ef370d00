using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>The same over an NF4 weight, decoded while it is packed.</summary>
public class Nf4LinearOp : LinearOp
{
    private protected override WeightFormat Format => WeightFormat.Nf4;

    private protected override float[] Dequantised()
    {
        Tensor wide = Operands.Contiguous(Shape.N, Shape.K);
        Backend.Dequantize(wide, _weight, 0, Shape.N);
        return Operands.Download(wide);
    }
}
