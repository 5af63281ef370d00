using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace FineTuneCore.Benchmarks.TorchPeer;

/// <summary>Products with frozen weights, both directions, in fp32 and bf16: matmul [--precision fp32|bf16|both].</summary>
internal static class MatmulCommand
{
    internal static void Run(Arguments arguments, int threads)
    {
        double seconds = arguments.Number("row-ms", 100) / 1e3;
        string precision = arguments.Text("precision", "both", "fp32", "bf16", "both");
        arguments.RefuseOthers();
        Output.Start("matmul", precision, threads);
        var meter = new LoadMeter();
        using IDisposable noGrad = no_grad();
        foreach ((string name, ScalarType dtype) in (ReadOnlySpan<(string, ScalarType)>)[("fp32", ScalarType.Float32), ("bf16", ScalarType.BFloat16)])
        {
            if (precision != "both" && precision != name) continue;
            foreach ((int n, int k) in Shapes.Weights) Time(dtype, n, k, threads, seconds);
        }

        JsonLines.Write("end", ("other_cores", Math.Round(meter.Look().OtherCores, 3)), ("peak_mb", Math.Round(Machine.PeakResidentMegabytes, 1)));
    }

    private static void Time(ScalarType dtype, int n, int k, int threads, double seconds)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor weight = tensor(Shapes.Values(1, n * k), n, k).to(dtype), x = tensor(Shapes.Values(2, Shapes.MostRows * k), Shapes.MostRows, k).to(dtype);
        Tensor dy = tensor(Shapes.Values(3, Shapes.MostRows * n), Shapes.MostRows, n).to(dtype);
        foreach (string direction in Shapes.Directions)
        {
            foreach (int m in Shapes.Rows)
            {
                Tensor rows = (direction == "forward" ? x : dy)[..m];
                Tensor Call() => direction == "forward" ? F.linear(rows, weight) : rows.mm(weight);
                double milliseconds = RateTimer.Milliseconds(threads, seconds, () => Call().Dispose());
                using DisposeScope call = NewDisposeScope();
                JsonLines.Write(
                    "row", ("format", dtype == ScalarType.Float32 ? "fp32" : "bf16"), ("direction", direction), ("n", n), ("k", k), ("m", m),
                    ("ms", Math.Round(milliseconds, 5)), ("gflops", Math.Round(Shapes.Gigaflops(m, n, k, milliseconds), 2)),
                    ("sum_of_magnitudes", Call().to(ScalarType.Float64).abs().sum().item<double>()));
            }
        }
    }
}
