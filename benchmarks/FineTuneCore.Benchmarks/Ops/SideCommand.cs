using FineTuneCore.Backends;
using FineTuneCore.Benchmarks.Kernels;
using FineTuneCore.Native;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>Our ops on one device, as a side of the comparison of kernels: FineTuneCore.Benchmarks side --device cpu|cuda|opencl [--check] [--log FILE].</summary>
internal static class SideCommand
{
    /// <summary>About what is reached in GFLOP/s where nothing measures a peak.</summary>
    private const double OpenClOnCpu = 8, Gpu = 1000;

    internal static void Run(Arguments arguments)
    {
        string device = arguments.Text("device", "cpu", "cpu", "cuda", "opencl"), log = arguments.Text("log", Path.Combine("artifacts", "bench", "side.log"));
        bool checkOnly = arguments.Has("check");
        arguments.RefuseOthers();
        using IBackend backend = OpDevice.Open(device);
        bool onCpu = device == "cpu" || backend.Info.Name.StartsWith("cpu", StringComparison.Ordinal); // PoCL calls its devices cpu-…
        double? peak = checkOnly ? null : Peak(backend, DType.F32);
        JsonLines.Write(
            "start", ("version", $"FineTuneCore {typeof(IBackend).Assembly.GetName().Version!.ToString(3)}{(device == "opencl" ? "" : $", ftc.h {NativeLibraryLoader.Version}")}"),
            ("runtime", $".NET {Environment.Version}"), ("device", backend.Info.Name), ("isa", backend.Info.Isa), ("peak_gflops", peak),
            ("peak_bf16_gflops", checkOnly ? null : Peak(backend, DType.BF16)), ("copy_gbs", checkOnly ? null : Copy(backend)), ("on_cpu", onCpu));
        KernelRunner.Run(checkOnly, log, peak / 2 ?? (onCpu ? OpenClOnCpu : Gpu), e => e is FtcException { Status: FtcStatus.Unsupported });
    }

    private static double Copy(IBackend backend)
    {
        using DeviceBuffer from = backend.Allocate(CopyRate.Bytes, "a copy's source"), to = backend.Allocate(CopyRate.Bytes, "a copy's destination");
        Tensor source = Tensor.Vector(from, 0, CopyRate.Bytes, DType.U8), destination = Tensor.Vector(to, 0, CopyRate.Bytes, DType.U8);
        return CopyRate.Gigabytes(() =>
        {
            backend.Copy(destination, source);
            backend.Synchronize();
        });
    }

    /// <summary>The best of three: a neighbour slows one of them.</summary>
    private static double? Peak(IBackend backend, DType dtype) =>
        Enumerable.Range(0, 3).Max(_ => backend.MeasurePeak(dtype)) is { } peak ? Math.Round(peak / 1e9, 1) : null;
}
