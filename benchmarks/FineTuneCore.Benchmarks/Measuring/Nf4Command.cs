using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Measuring;

/// <summary>A linear layer over an NF4 weight, which is decoded while it is packed.</summary>
internal static class Nf4Command
{
    internal static void Run(Arguments arguments, int threads)
    {
        double seconds = arguments.Number("row-ms", 1000) / 1e3;
        arguments.RefuseOthers();
        using NativeBackend backend = Output.Open(threads);
        Output.Start(backend, "nf4", "fp32");
        var meter = new LoadMeter();
        using var operands = new Operands(backend);
        const int Size = Shapes.Nf4Size;
        WeightMatrix weight = operands.Nf4Weight(
            Size, Size, operands.Bytes(Nf4Numbers.Codes(Size * Size / 2)), operands.Values(Nf4Numbers.Absmax(Size * Size / Nf4Numbers.BlockSize)));
        foreach (int m in Shapes.Nf4Rows)
        {
            Tensor x = operands.Matrix(m, Size, stream: 2), y = operands.Matrix(m, Size);
            Workspace workspace = operands.Workspace(backend.LinearWorkspaceBytes(DType.F32, WeightFormat.Nf4, 0, m, Size, Size, 0));
            (double[] times, double? peak) = Output.Time(
                backend, DType.F32, seconds, [() => backend.LinearForward(y, x, weight, default, [], default, accumulate: false, workspace)]);
            double milliseconds = times[0];
            JsonLines.Write(
                "row", ("format", "nf4"), ("m", m), ("ms", Math.Round(milliseconds, 4)), ("gflops", Math.Round(Shapes.Gigaflops(m, Size, Size, milliseconds), 2)),
                ("peak_gflops", peak),
                ("sum_of_magnitudes", operands.Download(y).Sum(v => Math.Abs((double)v))));
        }

        JsonLines.Write("end", ("other_cores", Math.Round(meter.Look().OtherCores, 3)), ("peak_mb", Math.Round(Machine.PeakResidentMegabytes, 1)));
    }
}
