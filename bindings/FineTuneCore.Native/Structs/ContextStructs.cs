using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

[StructLayout(LayoutKind.Sequential)]
internal struct ContextParams
{
    public uint StructSize;
    public int DeviceIndex;
    public int Threads;
    public int Reserved;
    public long MemoryLimitBytes;
}

[InlineArray(16)]
internal struct Utf8Name16
{
    private byte _first;
}

[InlineArray(64)]
internal struct Utf8Name64
{
    private byte _first;
}

[StructLayout(LayoutKind.Sequential)]
internal struct ContextInfo
{
    public uint StructSize;
    public int Threads;
    public long MemoryTotalBytes;
    public long MemoryAvailableBytes;
    public long MemoryUsedBytes;
    public Utf8Name16 DeviceKind;
    public Utf8Name64 DeviceName;
    public Utf8Name16 Isa;
    public long HostMemoryUsedBytes;
    public long MemoryOverheadBytes;
    public int CapturesGraphs;
    public int Reserved;
}
