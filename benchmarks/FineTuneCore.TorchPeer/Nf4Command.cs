using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace FineTuneCore.Benchmarks.TorchPeer;

/// <summary>
/// A linear layer over an NF4 weight as a user of libtorch writes it: dequantise the whole matrix, then multiply. Two ways to dequantise, with equal
/// values: nibbles through a table of 16 (A), or bytes through a table of 256 pairs (B).
/// </summary>
internal static class Nf4Command
{
    internal static void Run(Arguments arguments, int threads)
    {
        double seconds = arguments.Number("row-ms", 1000) / 1e3;
        arguments.RefuseOthers();
        Output.Start("nf4", "fp32", threads);
        var meter = new LoadMeter();
        using IDisposable noGrad = no_grad();
        const int Size = Shapes.Nf4Size;
        byte[] packed = Nf4Numbers.Codes(Size * Size / 2);
        float[] map = [.. Nf4Numbers.Map];
        Tensor codes = tensor(packed), absmax = tensor(Nf4Numbers.Absmax(Size * Size / Nf4Numbers.BlockSize)).view(-1, 1), table = tensor(map);
        Tensor pairs = tensor((float[])[.. Enumerable.Range(0, 256).SelectMany(c => (float[])[map[c >> 4], map[c & 15]])], 256, 2);

        Tensor DequantiseA()
        {
            Tensor index = stack([codes.bitwise_right_shift(4), codes.bitwise_and(15)], -1).view(-1).to(ScalarType.Int32);
            return table.index_select(0, index).view(-1, Nf4Numbers.BlockSize).mul_(absmax).view(Size, Size);
        }

        Tensor DequantiseB() => pairs.index_select(0, codes.to(ScalarType.Int32)).view(-1, Nf4Numbers.BlockSize).mul_(absmax).view(Size, Size);

        using (NewDisposeScope())
        {
            if (!allclose(DequantiseA(), DequantiseB(), rtol: 0, atol: 0)) throw new InvalidOperationException("the two ways to dequantise differ");
        }

        foreach (int m in Shapes.Nf4Rows)
        {
            using Tensor x = tensor(Shapes.Values(2, m * Size), m, Size);
            foreach ((string name, Func<Tensor> dequantise) in ((string, Func<Tensor>)[])[("A", DequantiseA), ("B", DequantiseB)])
            {
                double milliseconds = RateTimer.Milliseconds(threads, seconds, () =>
                {
                    using DisposeScope scope = NewDisposeScope();
                    F.linear(x, dequantise());
                });
                double sum;
                using (NewDisposeScope()) sum = F.linear(x, dequantise()).abs().sum(ScalarType.Float64).item<double>();
                JsonLines.Write(
                    "row", ("format", "nf4"), ("way", name), ("m", m), ("ms", Math.Round(milliseconds, 4)),
                    ("gflops", Math.Round(Shapes.Gigaflops(m, Size, Size, milliseconds), 2)), ("sum_of_magnitudes", sum));
            }
        }

        JsonLines.Write("end", ("other_cores", Math.Round(meter.Look().OtherCores, 3)), ("peak_mb", Math.Round(Machine.PeakResidentMegabytes, 1)));
    }
}
