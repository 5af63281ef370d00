using FineTuneCore.Backends;
using FineTuneCore.Benchmarks.Measuring;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>The device that the ops of this process run on. All of them use the one, as a native library is chosen once and an OpenCL context takes a second.</summary>
internal static class OpDevice
{
    private static IBackend? _backend;

    internal static IBackend Backend => _backend ?? throw new InvalidOperationException("no device was opened");

    /// <summary>Opens cpu, cuda or opencl, with one thread where that can be said.</summary>
    internal static IBackend Open(string device)
    {
        if (device == "cpu") return _backend = Output.Open(threads: 1);
        Environment.SetEnvironmentVariable("FTC_OPENCL_CPU", "1"); // an OpenCL device without a GPU is compared, too
        return _backend = Device.Open(device, "fp32", threads: 1).Backend;
    }
}
