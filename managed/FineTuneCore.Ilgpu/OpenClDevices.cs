using System.Globalization;
using System.Runtime.InteropServices;
using FineTuneCore.Ilgpu.Kernels;
using ILGPU;
using ILGPU.Runtime.OpenCL;

namespace FineTuneCore.Ilgpu;

/// <summary>What decides whether a device can be used.</summary>
/// <param name="Name">As the driver gives it.</param>
/// <param name="IsGpu">Whether it says so.</param>
/// <param name="IsNvidia">Whether NVIDIA makes it.</param>
/// <param name="MajorVersion">Of OpenCL.</param>
/// <param name="GenericAddressSpace">Pointers without a named address space, which ILGPU's code has.</param>
/// <param name="GroupThreads">The most threads of a group.</param>
/// <param name="SharedBytes">The most shared (local) memory of a group.</param>
internal sealed record DeviceFacts(
    string Name, bool IsGpu, bool IsNvidia, int MajorVersion, bool GenericAddressSpace, long GroupThreads, long SharedBytes);

/// <summary>The OpenCL devices of this machine: those that can be used, GPUs first, and why the others cannot.</summary>
internal sealed class OpenClDevices : IDisposable
{
    internal const string CpuVariable = "FTC_OPENCL_CPU";
    internal const int FewestThreads = 64; // of narrow kernels
    internal const int LeastSharedBytes = 14 * 1024; // of the largest of them, attention
    internal const int WideThreads = 256;
    internal const int WideSharedBytes = 27 * 1024;

    private readonly Context _context;
    private readonly Func<DeviceFacts, DeviceFacts> _seen;

    /// <param name="seen">Changes what a device says of itself; tests let a large one pass for a small one.</param>
    internal OpenClDevices(Func<DeviceFacts, DeviceFacts>? seen = null)
    {
        _seen = seen ?? (facts => facts);
        Library.Resolve();
        bool cpuWanted = Environment.GetEnvironmentVariable(CpuVariable) == "1";
        var refused = new List<(string, string)>();
        _context = Context.Create(builder =>
        {
            Intrinsics.Register(builder);
            builder.OpenCL(device =>
            {
                string? reason = Refusal(FactsOf(device), cpuWanted);
                if (reason is not null) refused.Add((device.Name.Trim('\0', ' '), reason));
                return reason is null;
            });
        });
        Refused = refused;
        var usable = new List<CLDevice>();
        foreach (CLDevice device in _context.GetCLDevices()) usable.Add(device);
        Usable = [.. Enumerable.OrderBy(usable, d => FactsOf(d).IsGpu ? 0 : 1)];
    }

    internal IReadOnlyList<CLDevice> Usable { get; }

    internal IReadOnlyList<(string Name, string Reason)> Refused { get; }

    internal CLAccelerator Open(int index) => Usable[index].CreateCLAccelerator(_context);

    internal DeviceFacts FactsOf(CLDevice device) => _seen(new DeviceFacts(
        device.Name.Trim('\0', ' '), (device.DeviceType & CLDeviceType.CL_DEVICE_TYPE_GPU) != 0, device.Vendor == CLDeviceVendor.Nvidia,
        device.DeviceVersion.Major, device.Capabilities.GenericAddressSpace, device.MaxNumThreadsPerGroup, device.MaxSharedMemoryPerGroup));

    /// <summary>Whether a device that can be used takes the kernels of small groups.</summary>
    internal static bool IsNarrow(DeviceFacts facts) => facts.GroupThreads < WideThreads || facts.SharedBytes < WideSharedBytes;

    /// <summary>Why a device cannot be used; null when it can.</summary>
    internal static string? Refusal(DeviceFacts facts, bool cpuWanted)
    {
        if (facts.IsNvidia) return "it is NVIDIA's, which --device cuda drives";
        if (!facts.IsGpu && !cpuWanted) return $"it is no GPU, and --device cpu is faster; {CpuVariable}=1 allows it for tests";
        if (facts.MajorVersion < 2) return $"its driver has OpenCL {facts.MajorVersion}, expected 2.0 or newer; update the driver";
        if (!facts.GenericAddressSpace) return "its driver has no generic address space, which the kernels need; update the driver";
        if (facts.GroupThreads < FewestThreads) return $"its groups have at most {facts.GroupThreads} threads, expected {FewestThreads} or more";
        if (facts.SharedBytes < LeastSharedBytes)
            return string.Create(CultureInfo.InvariantCulture, $"its groups have {facts.SharedBytes} bytes of local memory, expected {LeastSharedBytes} or more");
        return null;
    }

    public void Dispose() => _context.Dispose();

    /// <summary>ILGPU asks for libOpenCL.so, which on Linux only the development package has; users have libOpenCL.so.1.</summary>
    private static class Library
    {
        static Library() => NativeLibrary.SetDllImportResolver(
            typeof(Context).Assembly, (name, _, _) => name == "OpenCL" && NativeLibrary.TryLoad("libOpenCL.so.1", out nint handle) ? handle : 0);

        /// <summary>Once in a process, before the first context.</summary>
        internal static void Resolve()
        {
        }
    }
}
