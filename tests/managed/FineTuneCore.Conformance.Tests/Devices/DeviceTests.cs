using FineTuneCore.Backends;
using FineTuneCore.Ilgpu;
using FineTuneCore.Native;
using FineTuneCore.Tensors;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Conformance.Tests.Devices;

/// <summary>Which devices are refused, and what a tensor must be like.</summary>
public sealed class DeviceTests
{
    private static readonly DeviceFacts Gpu = new("a GPU", true, false, 3, true, 256, 32768);

    [Fact]
    public void AGpuWithEverythingIsTaken() => OpenClDevices.Refusal(Gpu, cpuWanted: false).Should().BeNull();

    [Fact]
    public void EveryLackHasItsReason()
    {
        void Refused(DeviceFacts facts, string reason) => OpenClDevices.Refusal(facts, cpuWanted: false).Should().Contain(reason);
        Refused(Gpu with { IsNvidia = true }, "--device cuda drives");
        Refused(Gpu with { IsGpu = false }, "FTC_OPENCL_CPU=1 allows it");
        Refused(Gpu with { MajorVersion = 1 }, "OpenCL 1, expected 2.0 or newer");
        Refused(Gpu with { GenericAddressSpace = false }, "no generic address space");
        Refused(Gpu with { GroupThreads = 32 }, "at most 32 threads, expected 64 or more");
        Refused(Gpu with { SharedBytes = 8192 }, "8192 bytes of local memory, expected 14336 or more");
        OpenClDevices.Refusal(Gpu with { IsGpu = false }, cpuWanted: true).Should().BeNull();
    }

    [Theory]
    [InlineData(256, 32768, false)]
    [InlineData(128, 65536, true)]
    [InlineData(64, 14336, true)]
    [InlineData(1024, 16384, true)]
    public void ASmallGpuTakesTheKernelsOfSmallGroups(int threads, int shared, bool narrow)
    {
        DeviceFacts facts = Gpu with { GroupThreads = threads, SharedBytes = shared };
        OpenClDevices.Refusal(facts, cpuWanted: false).Should().BeNull();
        OpenClDevices.IsNarrow(facts).Should().Be(narrow);
    }

    [Theory]
    [InlineData("opencl", "opencl:0")]
    [InlineData("opencl:3", "opencl:3")]
    public void OpenClDevicesHaveNames(string text, string name)
    {
        DeviceName.TryParse(text)!.Value.ToString().Should().Be(name);
        DeviceName.TryParse("opencl:x").Should().BeNull();
        DeviceName.TryParse("openclx").Should().BeNull();
    }

    [Fact]
    public void TensorsThatAKernelCannotSeeAreRefused()
    {
        IBackend backend = TestDevice.OpenCl.Required();
        using DeviceBuffer buffer = backend.Allocate(64, "a test");
        Tensor Vector(long offset, long count) => Tensor.Vector(buffer, offset, count);
        Refused(() => backend.SumOfSquares(Vector(0, 1), Vector(2, 4)), "begins at byte 2, expected a multiple of 4");
        Refused(() => backend.SumOfSquares(Vector(0, 1), Vector(4, 16)), "run past a buffer of 64 bytes");
        Refused(() => backend.SumOfSquares(Vector(0, 1), Vector(1L << 33, 1)), "expected less than 2^31");
        Refused(() => backend.CreateEvent(), "the ILGPU backend has no events");
        Refused(() => backend.AllocateHost(8, "a test"), "the ILGPU backend has no pinned host memory");
        backend.Info.Kind.Should().Be("opencl");
        (backend.CapturesGraphs, backend.HasBackground, backend.ReadsHostMemory).Should().Be((false, false, false));
    }

    private static void Refused(Action action, string message) => action.Should().Throw<FtcException>().WithMessage($"*{message}*");
}
