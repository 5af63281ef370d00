using FineTuneCore.Backends;
using FineTuneCore.Ilgpu;
using FineTuneCore.Ilgpu.Kernels;
using FineTuneCore.Native;
using ILGPU;
using ILGPU.Runtime.CPU;
using Xunit;

namespace FineTuneCore.Conformance.Tests.Devices;

/// <summary>A device that the suite runs on: opened once, or skipped with the reason.</summary>
public abstract class TestDevice
{
    private static readonly Lazy<IBackend> NativeCpu = new(() =>
    {
        NativeLibraryLoader.Use(NativeLibraryKind.Cpu);
        return new NativeBackend();
    });

    private static readonly Lazy<(IBackend? Backend, string Problem)> FirstOpenCl = new(() => Open(null));

    private static readonly Lazy<(IBackend? Backend, string Problem)> SmallOpenCl = new(() => Open(facts => facts with { IsGpu = true, GroupThreads = 64, SharedBytes = 16384 }));

    internal abstract IBackend Backend { get; }

    /// <summary>Ulps that the device's divisions, roots and exponentials may be wrong by beyond correct rounding.</summary>
    internal abstract int FunctionUlps { get; }

    /// <summary>Whether bf16 layers multiply words of 16 bits, so that fp32 operands beside them are rounded first.</summary>
    internal virtual bool MultipliesWords => false;

    /// <summary>The native library on this machine's processor.</summary>
    public sealed class Cpu : TestDevice
    {
        internal override IBackend Backend => NativeCpu.Value;

        internal override int FunctionUlps => 1; // its vector exponential

        internal override bool MultipliesWords => Backend.Info.Isa == "avx512bf16";
    }

    /// <summary>ILGPU's CPU accelerator, a thread for every GPU thread: slow, but it ends the process at an index outside a view, which OpenCL does not see.</summary>
    public sealed class Emulated : TestDevice
    {
        private static readonly Lazy<IBackend> Emulator = new(() =>
        {
            Context context = Context.Create(builder =>
            {
                Intrinsics.Register(builder);
                builder.CPU(new CPUDevice(4, 64, 1));
            });
            return new IlgpuBackend(context.CreateCPUAccelerator(0), fused: true, narrow: false, 0, context);
        });

        internal override IBackend Backend => Emulator.Value;

        internal override int FunctionUlps => 4;
    }

    /// <summary>The first OpenCL device, processors included. FTC_REQUIRE_OPENCL=1 makes its lack a failure.</summary>
    public sealed class OpenCl : TestDevice
    {
        internal override IBackend Backend => Required();

        internal override int FunctionUlps => 4;

        internal static IBackend Required() => TestDevice.Required(FirstOpenCl.Value);
    }

    /// <summary>
    /// The same device as a small GPU, with groups of 64 threads and 16 KB of local memory: it takes the narrow kernels, and products that multiply and add in
    /// one operation.
    /// </summary>
    public sealed class SmallGpu : TestDevice
    {
        internal override IBackend Backend => Required(SmallOpenCl.Value);

        internal override int FunctionUlps => 4;
    }

    private static (IBackend? Backend, string Problem) Open(Func<DeviceFacts, DeviceFacts>? seen)
    {
        Environment.SetEnvironmentVariable(OpenClDevices.CpuVariable, "1");
        try
        {
            return (IlgpuProvider.Open(0, 0, seen), "");
        }
        catch (FineTuneException e)
        {
            return (null, e.Message);
        }
    }

    private static IBackend Required((IBackend? Backend, string Problem) device)
    {
        if (device.Backend is null && Environment.GetEnvironmentVariable("FTC_REQUIRE_OPENCL") == "1") Assert.Fail(device.Problem);
        Assert.SkipWhen(device.Backend is null, device.Problem);
        return device.Backend!;
    }
}
