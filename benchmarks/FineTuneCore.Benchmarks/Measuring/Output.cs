using System.Text.Json.Nodes;
using FineTuneCore.Backends;
using FineTuneCore.Native;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Measuring;

/// <summary>Opens the CPU library for a measurement, says what it is, and times products along with its peak.</summary>
internal static class Output
{
    internal static NativeBackend Open(int threads)
    {
        if (!NativeLibraryLoader.IsForced) NativeLibraryLoader.Use(NativeLibraryKind.Cpu);
        return new NativeBackend(threads);
    }

    internal static void Start(NativeBackend backend, string verb, string precision, params (string Key, JsonNode? Value)[] more) => JsonLines.Write("start", [
        ("side", "ours"), ("verb", verb), ("precision", precision), ("threads", backend.Info.Threads),
        ("version", $"FineTuneCore {typeof(NativeBackend).Assembly.GetName().Version!.ToString(3)}, ftc.h {NativeLibraryLoader.Version}"),
        ("runtime", $".NET {Environment.Version}"), ("cpu", Machine.Cpu), ("isa", backend.Info.Isa), ("peak_gflops", Peak(backend, precision == "bf16" ? DType.BF16 : DType.F32)), .. more]);

    /// <summary>What all threads reach in multiply-adds on registers: the roof that shares of peak refer to.</summary>
    internal static double? Peak(NativeBackend backend, DType dtype) =>
        backend.MeasurePeak(dtype) is { } peak ? Math.Round(peak / 1e9, 1) : null;

    /// <summary>Times products of one shape in alternating rounds, before each of which the peak is looked at: its median goes with their times.</summary>
    internal static (double[] Milliseconds, double? Peak) Time(NativeBackend backend, DType dtype, double seconds, IReadOnlyList<Action> calls)
    {
        var peaks = new List<double>();
        double[] milliseconds = RateTimer.Milliseconds(backend.Info.Threads, seconds, calls, () =>
        {
            if (Peak(backend, dtype) is { } peak) peaks.Add(peak);
        });
        return (milliseconds, peaks.Count > 0 ? Statistics.Median(peaks) : null);
    }
}
