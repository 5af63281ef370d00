using FineTuneCore.Backends;
using FineTuneCore.Conformance.Tests.Devices;
using FineTuneCore.Tensors;

namespace FineTuneCore.Conformance.Tests.Ops;

/// <summary>What every class of the suite has: a device and memory on it for each test.</summary>
public abstract class OpTests<TDevice> : IDisposable
    where TDevice : TestDevice, new()
{
    private readonly TDevice _device = new();
    private Memory? _memory;

    internal IBackend Backend => _device.Backend;

    internal int FunctionUlps => _device.FunctionUlps;

    /// <summary>What the device does to fp32 operands beside activations of this type.</summary>
    internal Func<double, double> WordOf(DType type) => _device.MultipliesWords ? v => Numbers.Rounded((float)v, type) : v => v;

    internal Memory Memory => _memory ??= new Memory(Backend);

    internal static DType TypeOf(bool bf16) => bf16 ? DType.BF16 : DType.F32;

    public void Dispose()
    {
        _memory?.Dispose();
        GC.SuppressFinalize(this);
    }
}
