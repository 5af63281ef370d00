using FineTuneCore.Backends;
using FineTuneCore.Tensors;

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
        Output.Start(backend, "matmul", precision);
        var meter = new LoadMeter();
        WeightFormat[] formats = precision == "bf16" ? [WeightFormat.BF16] : [WeightFormat.F32, WeightFormat.Nf4];
        foreach ((int n, int k) in Shapes.Weights) Time(backend, formats, n, k, threads, seconds);
        JsonLines.Write("end", ("other_cores", Math.Round(meter.Look().OtherCores, 3)), ("peak_mb", Math.Round(Machine.PeakResidentMegabytes, 1)));
    }

    private static void Time(NativeBackend backend, WeightFormat[] formats, int n, int k, int threads, double seconds)
    {
        using var operands = new Operands(backend);
        DType dtype = formats[0] == WeightFormat.BF16 ? DType.BF16 : DType.F32;
        float[] values = Shapes.Values(1, n * k);
        Tensor x = operands.Matrix(Shapes.MostRows, k, dtype, 2), dy = operands.Matrix(Shapes.MostRows, n, dtype, 3);
        Tensor y = operands.Matrix(Shapes.MostRows, n, dtype), dx = operands.Matrix(Shapes.MostRows, k, dtype);
        WeightMatrix[] weights = [.. formats.Select(format => operands.Weight(format, n, k, values))];
        WeightMatrix?[] plain = [.. weights.Select(w => w.Format == WeightFormat.Nf4 ? Dequantised(backend, operands, w) : null)];
        Workspace workspace = operands.Workspace(formats.Max(format => backend.LinearWorkspaceBytes(dtype, format, 0, Shapes.MostRows, k, n, 0)));
        foreach (string direction in Shapes.Directions)
        {
            foreach (int m in Shapes.Rows)
            {
                Tensor result = (direction == "forward" ? y : dx).FirstRows(m);
                float[] Outcome(WeightMatrix w)
                {
                    Call(w);
                    return operands.Download(result);
                }

                void Call(WeightMatrix w)
                {
                    if (direction == "forward") backend.LinearForward(result, x.FirstRows(m), w, default, [], default, accumulate: false, workspace);
                    else backend.LinearBackward(result, default, default, dy.FirstRows(m), default, w, [], default, accumulate: false, workspace);
                }

                double? peak = Output.Peak(backend, dtype);
                double[] milliseconds = RateTimer.Milliseconds(threads, seconds, [.. weights.Select(w => (Action)(() => Call(w)))]);
                for (int i = 0; i < weights.Length; i++)
                {
                    float[] outcome = Outcome(weights[i]);
                    bool? same = plain[i] is { } dequantised ? Outcome(dequantised).AsSpan().SequenceEqual(outcome) : null;
                    JsonLines.Write(
                        "row", ("format", Name(formats[i])), ("direction", direction), ("n", n), ("k", k), ("m", m), ("ms", Math.Round(milliseconds[i], 5)),
                        ("gflops", Math.Round(Shapes.Gigaflops(m, n, k, milliseconds[i]), 2)), ("peak_gflops", peak), ("sum_of_magnitudes", outcome.Sum(v => Math.Abs((double)v))),
                        ("as_dequantised", same));
                }
            }
        }
    }

    private static string Name(WeightFormat format) => format switch { WeightFormat.BF16 => "bf16", WeightFormat.Nf4 => "nf4", _ => "fp32" };

    /// <summary>The same weight in fp32: the product with it must come to the same bits.</summary>
    private static WeightMatrix Dequantised(NativeBackend backend, Operands operands, WeightMatrix weight)
    {
        Tensor wide = operands.Contiguous(weight.Rows, weight.Columns);
        backend.Dequantize(wide, weight, 0, weight.Rows);
        return new WeightMatrix { Format = WeightFormat.F32, Rows = weight.Rows, Columns = weight.Columns, Data = wide };
    }
}
