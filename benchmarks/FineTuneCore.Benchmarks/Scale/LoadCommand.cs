using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;

namespace FineTuneCore.Benchmarks.Scale;

/// <summary>Loads a checkpoint in a process of its own and says what that took beside the weights themselves.</summary>
internal static class LoadCommand
{
    internal static void Run(Arguments arguments)
    {
        string model = arguments.Text("model", "");
        BaseFormat format = arguments.Text("format", "stored", "stored", "nf4") == "nf4" ? BaseFormat.Nf4 : BaseFormat.AsStored;
        arguments.RefuseOthers();
        ModelDirectory directory = ModelDirectory.Resolve(model);
        ModelConfig config = ModelConfig.Load(directory.ConfigPath);
        using var backend = new NativeBackend(1);
        // One op first: the pool's thread, the kernels' pages and the runtime's code are not the checkpoint's.
        using (DeviceBuffer buffer = backend.Allocate(1 << 20, "a first op")) backend.Zero(Tensors.Tensor.Vector(buffer, 0, 1 << 18));
        double before = Machine.PeakResidentMegabytes;
        using DecoderWeights weights = DecoderWeights.Load(directory, config, backend, new WeightOptions { Format = format });
        foreach ((_, WeightMatrix weight) in weights.Matrices) Touch(backend, weight);
        double peak = Machine.PeakResidentMegabytes, matrices = weights.Matrices.Sum(m => m.Weight.ByteCount) / 1e6;
        JsonLines.Write("load", ("format", format == BaseFormat.Nf4 ? "nf4" : "stored"), ("before_mb", before), ("peak_mb", peak), ("weights_mb", matrices), ("beside_mb", Math.Round(peak - before - matrices, 1)));
    }

    /// <summary>Reads all of a matrix: one that is mapped takes memory only then.</summary>
    private static void Touch(NativeBackend backend, WeightMatrix weight)
    {
        using DeviceBuffer row = backend.Allocate(weight.Columns * 4, "a row");
        for (long r = 0; r < weight.Rows; r++) backend.Dequantize(new Tensors.Tensor(row, 0, 1, weight.Columns, weight.Columns, Tensors.DType.F32), weight, r, 1);
    }
}
