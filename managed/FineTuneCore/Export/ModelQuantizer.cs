using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FineTuneCore.Tensors;

namespace FineTuneCore.Export;

/// <summary>What was quantised and how much it lost.</summary>
/// <param name="Output">The new model directory.</param>
/// <param name="Layers">Quantised linear layers.</param>
/// <param name="Weights">Their weights.</param>
/// <param name="Bytes">Bytes these now take, scales included, the two shared code tables left out.</param>
/// <param name="WideWeights">Weights that stay as they were.</param>
/// <param name="RelativeError">Root mean square error over root mean square weight.</param>
internal sealed record QuantizeReport(string Output, int Layers, long Weights, long Bytes, long WideWeights, double RelativeError);

/// <summary>Writes a model with NF4 linear layers, as bitsandbytes stores them.</summary>
internal static class ModelQuantizer
{
    internal static QuantizeReport Quantize(string model, string output, int threads, string device = "auto")
    {
        if (Directory.Exists(output) && Directory.EnumerateFileSystemEntries(output).Any())
            throw FineTuneException.Usage($"{output} exists and is not empty; choose a new directory for the quantised model.");
        ModelDirectory source = ModelDirectory.Resolve(model);
        ModelConfig config = ModelConfig.Load(source.ConfigPath);
        using IBackend backend = Device.Open(device, "fp32", threads).Backend;
        using DecoderWeights weights = DecoderWeights.Load(source, config, backend, new WeightOptions { Format = BaseFormat.Nf4 });
        (ModuleSpec Module, WeightMatrix Weight)[] quantised = [.. weights.Matrices.Where(m => m.Weight.Format == WeightFormat.Nf4)];
        using DecoderWeights wide = DecoderWeights.Load(source, config, backend, new WeightOptions());
        if (wide.Matrices.Any(m => m.Weight.Format == WeightFormat.Nf4)) throw FineTuneException.Usage($"{model} is quantised to NF4 already.");
        ModelWriter.Write(output, source, weights, type: null, keepNf4: true);
        long count = quantised.Sum(m => m.Weight.Rows * m.Weight.Columns);
        return new QuantizeReport(
            output, quantised.Length, count, quantised.Sum(m => m.Weight.ByteCount), config.ParameterCount - count,
            Error(backend, quantised, wide.Matrices.ToDictionary(m => m.Module.Name, m => m.Weight)));
    }

    private static double Error(IBackend backend, (ModuleSpec Module, WeightMatrix Weight)[] quantised, Dictionary<string, WeightMatrix> wide)
    {
        const int Rows = 64; // of fp32 at a time
        double error = 0, power = 0;
        foreach ((ModuleSpec module, WeightMatrix weight) in quantised)
        {
            long rows = Math.Min(Rows, weight.Rows);
            using DeviceBuffer buffer = backend.Allocate(2 * rows * weight.Columns * 4, "comparing");
            var a = new float[rows * weight.Columns];
            var b = new float[a.Length];
            for (long row = 0; row < weight.Rows; row += rows)
            {
                long n = Math.Min(rows, weight.Rows - row);
                var x = new Tensor(buffer, 0, n, weight.Columns, weight.Columns, DType.F32);
                Tensor y = x with { ByteOffset = rows * weight.Columns * 4 };
                backend.Dequantize(x, weight, row, n);
                backend.Dequantize(y, wide[module.Name], row, n);
                int count = (int)(n * weight.Columns);
                backend.Download(a.AsSpan(0, count), x);
                backend.Download(b.AsSpan(0, count), y);
                for (int i = 0; i < count; i++)
                {
                    error += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
                    power += (double)b[i] * b[i];
                }
            }
        }

        return Math.Sqrt(error / Math.Max(power, double.Epsilon));
    }
}
