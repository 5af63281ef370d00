using FineTuneCore.Backends;

namespace FineTuneCore.Benchmarks.Measuring;

/// <summary>Products with frozen weights, both directions: fp32, NF4 with fp32 activations, bf16.</summary>
internal static class MatmulCommand
{
    internal static void Run(Arguments arguments, int threads)
    {
        double seconds = arguments.Number("row-ms", 100) / 1e3;
        string precision = arguments.Text("precision", "fp32", "fp32", "bf16");
        arguments.RefuseOthers();
        using NativeBackend backend = Output.Open(threads);
        using NativeBackend? single = threads > 1 ? Output.Open(1) : null;
        Output.Start(backend, "matmul", precision);
        var meter = new LoadMeter();
        WeightFormat[] formats = precision == "bf16" ? [WeightFormat.BF16] : [WeightFormat.F32, WeightFormat.Nf4];
        foreach ((int n, int k) in Shapes.Weights) Time(backend, single, formats, n, k, seconds);
        JsonLines.Write("end", ("other_cores", Math.Round(meter.Look().OtherCores, 3)), ("peak_mb", Math.Round(Machine.PeakResidentMegabytes, 1)));
    }

    /// <summary>Products of one shape, from <see cref="Shapes.ManyRows"/> rows on in turn with those of a backend of one thread.</summary>
    private static void Time(NativeBackend backend, NativeBackend? single, WeightFormat[] formats, int n, int k, double seconds)
    {
        float[] values = Shapes.Values(1, n * k);
        using var products = new Products(backend, formats, n, k, values);
        using Products? singleProducts = single is null ? null : new Products(single, formats, n, k, values);
        foreach (string direction in Shapes.Directions)
        {
            foreach (int m in Shapes.Rows)
            {
                Action[] calls = products.Calls(direction, m);
                Action[] singleCalls = m >= Shapes.ManyRows && singleProducts is not null ? singleProducts.Calls(direction, m) : [];
                (double[] milliseconds, double? peak) = Output.Time(backend, products.DType, seconds, [.. calls, .. singleCalls]);
                for (int i = 0; i < formats.Length; i++)
                {
                    (float[] outcome, bool? same) = products.Outcome(i, direction, m);
                    JsonLines.Write(
                        "row", ("format", Name(formats[i])), ("direction", direction), ("n", n), ("k", k), ("m", m), ("ms", Math.Round(milliseconds[i], 5)),
                        ("gflops", Math.Round(Shapes.Gigaflops(m, n, k, milliseconds[i]), 2)), ("peak_gflops", peak),
                        ("one_thread_ms", singleCalls.Length > 0 ? Math.Round(milliseconds[calls.Length + i], 5) : null),
                        ("sum_of_magnitudes", outcome.Sum(v => Math.Abs((double)v))), ("as_dequantised", same));
                }
            }
        }
    }

    private static string Name(WeightFormat format) => format switch { WeightFormat.BF16 => "bf16", WeightFormat.Nf4 => "nf4", _ => "fp32" };
}
