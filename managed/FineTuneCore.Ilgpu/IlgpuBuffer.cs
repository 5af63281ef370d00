using FineTuneCore.Backends;
using ILGPU;
using ILGPU.Runtime;

namespace FineTuneCore.Ilgpu;

/// <summary>Memory of an ILGPU device.</summary>
internal sealed class IlgpuBuffer : DeviceBuffer
{
    private readonly MemoryBuffer1D<byte, Stride1D.Dense> _memory;
    private Action? _released;

    internal IlgpuBuffer(MemoryBuffer1D<byte, Stride1D.Dense> memory, long sizeBytes, Action released)
        : base(sizeBytes) => (_memory, _released) = (memory, released);

    internal ArrayView<byte> Bytes => _memory.View.AsContiguous();

    protected override void Dispose(bool disposing)
    {
        if (!disposing) return;
        _memory.Dispose();
        _released?.Invoke();
        _released = null;
    }
}
