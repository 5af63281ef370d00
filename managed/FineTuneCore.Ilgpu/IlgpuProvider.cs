using FineTuneCore.Backends;
using ILGPU.Runtime.OpenCL;

namespace FineTuneCore.Ilgpu;

/// <summary>The OpenCL devices as FineTuneCore asks for them. It finds this class by its name.</summary>
internal sealed class IlgpuProvider : IDeviceProvider
{
    /// <summary>Called by FineTuneCore.</summary>
    public IlgpuProvider()
    {
    }

    public IReadOnlyList<FoundDevice> Devices()
    {
        using var devices = new OpenClDevices();
        return
        [
            .. devices.Usable.Select((d, i) => new FoundDevice(i, d.Name.Trim('\0', ' '), d.MemorySize, null)),
            .. devices.Refused.Select(r => new FoundDevice(-1, r.Name, 0, r.Reason)),
        ];
    }

    public IBackend Open(int index, long memoryLimitBytes) => Open(index, memoryLimitBytes, null);

    /// <inheritdoc cref="OpenClDevices(Func{DeviceFacts, DeviceFacts})"/>
    internal static IlgpuBackend Open(int index, long memoryLimitBytes, Func<DeviceFacts, DeviceFacts>? seen)
    {
        var devices = new OpenClDevices(seen);
        try
        {
            if (index >= devices.Usable.Count) throw NoSuchDevice(index, devices);
            DeviceFacts facts = devices.FactsOf(devices.Usable[index]);
            // A GPU has fused multiply-adds; OpenCL on a CPU is faster without asking for them.
            return new IlgpuBackend(devices.Open(index), facts.IsGpu, OpenClDevices.IsNarrow(facts), memoryLimitBytes, devices);
        }
        catch
        {
            devices.Dispose();
            throw;
        }
    }

    private static FineTuneException NoSuchDevice(int index, OpenClDevices devices)
    {
        string refused = string.Concat(devices.Refused.Select(r => $" {r.Name} cannot be used: {r.Reason}."));
        return devices.Usable.Count == 0
            ? FineTuneException.Failed(
                $"--device opencl:{index}: no OpenCL device can be used.{(refused.Length > 0 ? refused : " None was found; install your GPU's OpenCL driver (libOpenCL.so.1 and its ICD).")}")
            : FineTuneException.Usage($"--device opencl:{index}: this machine has opencl:0 to opencl:{devices.Usable.Count - 1}; choose one of these.{refused}");
    }
}
